"""TabM (Gorishniy et al., ICLR 2025) in its authors' package, with the hyperparameters they published for this table.

The configuration is their `paper/exp/tabm/churn` (yandex-research/tabm): 32 members of 4 layers with 192 units, each
member with its own batches, AdamW, gradient clipping, early stopping after 16 epochs without improvement,
quantile-normalised numbers, one-hot categories and flags. Two things differ: it stops on the validation log loss, the
metric of the comparison, instead of accuracy; and it computes in float32.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import QuantileTransformer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from churn.schema import Schema

    Matrix = NDArray[np.float64]
    Predict = Callable[[Matrix], NDArray[np.float64]]

THREADS = 1
"""Number of threads; two are hardly faster at this size, and slower on a busy machine."""

MEMBERS = 32
BATCH_ROWS = 256
PATIENCE = 16
CLIP_NORM = 1.0
LEARNING_RATE = 0.0007091576793635641
SHAPE = {"arch_type": "tabm", "n_blocks": 4, "d_block": 192, "dropout": 0.0}
TIE_BREAK = 1e-5
"""Noise added to numbers when fitting quantiles, so that a frequent value does not fall on a single quantile."""


class Encoder:
    """Encoder with quantile-normalised numbers, and categories and flags as codes.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Rows for fitting the quantiles.
    seed : int
    """

    def __init__(self, schema: Schema, raw: Matrix, seed: int) -> None:
        kinds = [feature.kind for feature in schema.features]
        self._numbers = [index for index, kind in enumerate(kinds) if kind in ("number", "integer")]
        self._codes = [index for index, kind in enumerate(kinds) if kind in ("flag", "category")]
        self.cardinalities = [len(schema.features[index].categories) or 2 for index in self._codes]
        quantiles = max(min(len(raw) // 30, 1000), 10)
        self._normalise = QuantileTransformer(n_quantiles=quantiles, output_distribution="normal", random_state=seed)
        numbers = raw[:, self._numbers]
        self._normalise.fit(numbers + np.random.default_rng(seed).normal(0, TIE_BREAK, numbers.shape))

    @property
    def numbers(self) -> int:
        """Number of numeric columns."""
        return len(self._numbers)

    def __call__(self, raw: Matrix) -> tuple[Any, Any]:
        """Return float32 tensors, shape (n, numbers), and int64 tensors, shape (n, categories and flags)."""
        import torch

        numbers = torch.from_numpy(self._normalise.transform(raw[:, self._numbers]).astype(np.float32))
        return numbers, torch.from_numpy(raw[:, self._codes].astype(np.int64))


def fit_tabm(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401  (raw, labels)
    """Fit TabM with the published hyperparameters on the training set, with early stopping on the validation set."""
    import torch
    from tabm import TabM

    torch.manual_seed(seed)
    torch.set_num_threads(THREADS)
    encode = Encoder(schema, train[0], seed)
    model = TabM.make(
        n_num_features=encode.numbers, cat_cardinalities=encode.cardinalities, d_out=1, k=MEMBERS, **SHAPE
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    shown, labels = encode(train[0]), torch.from_numpy(train[1].astype(np.float32))
    held = encode(validation[0])
    best, best_state, waited = np.inf, model.state_dict(), 0
    while waited < PATIENCE:
        fit_epoch(model, optimizer, shown, labels)
        loss = log_loss(validation[1], predict(model, held))
        waited += 1
        if loss < best:
            best, best_state, waited = loss, copy.deepcopy(model.state_dict()), 0
    model.load_state_dict(best_state)
    return lambda raw: predict(model, encode(raw))


def fit_epoch(model: Any, optimizer: Any, shown: tuple[Any, Any], labels: Any) -> None:  # noqa: ANN401  PyTorch's
    """Train each member for one epoch in its own order; the loss is that of the members, not of their mean."""
    import torch

    model.train()
    numbers, codes = shown
    order = torch.rand(MEMBERS, len(labels)).argsort(dim=1)
    for rows in order.split(BATCH_ROWS, dim=1):
        picked = rows.T  # (batch, members)
        optimizer.zero_grad()
        logits = model(numbers[picked], codes[picked]).squeeze(-1)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[picked]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()


def predict(model: Any, encoded: tuple[Any, Any]) -> NDArray[np.float64]:  # noqa: ANN401
    """Return the mean probability of the members, shape (n,)."""
    import torch

    model.eval()
    with torch.inference_mode():
        mean: NDArray[np.float64] = torch.sigmoid(model(*encoded).squeeze(-1)).mean(1).double().numpy()
    return mean


def log_loss(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float:
    """Return the mean log loss in nats."""
    inside = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return float(-np.mean(labels * np.log(inside) + (1 - labels) * np.log(1 - inside)))
