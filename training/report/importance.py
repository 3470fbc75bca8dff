"""How much worse the model gets when a column is shuffled: permutation importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

REPEATS = 6
MAX_SCORED = 200_000
"""Rows the network scores for this in all; of a larger part, or of many columns, a random sample is taken."""
MIN_SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Importance:
    """What shuffling each column costs, in nats of log loss per customer.

    Attributes
    ----------
    means, deviations : ndarray of float64, shape (features,)
        Over the repeats.
    customers : int
        How many were scored.
    repeats : int
    """

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    customers: int
    repeats: int

    @property
    def matters(self) -> NDArray[np.bool_]:
        """Whether shuffling a column changes anything at all, shape (features,)."""
        matters: NDArray[np.bool_] = (self.means != 0) | (self.deviations != 0)
        return matters


def permutation_importance(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    raw: NDArray[np.float64],
    labels: NDArray[np.float64],
    *,
    seed: int,
) -> Importance:
    """Shuffle one column after the other and measure the rise of the log loss.

    Breiman (2001), Machine Learning 45:5-32, in the model-agnostic form of Fisher, Rudin and Dominici (2019), JMLR
    20(177):1-81. Columns that carry the same knowledge share it, so each seems to matter less than it does.
    """
    rng = np.random.default_rng(seed)
    features = raw.shape[1]
    size = min(len(raw), max(MIN_SAMPLE, MAX_SCORED // (features * REPEATS)))
    if size < len(raw):
        rows = np.sort(rng.choice(len(raw), size, replace=False))
        raw, labels = raw[rows], labels[rows]
    before = _losses(labels, predict(raw)).mean()
    rises = np.empty((features, REPEATS))
    for feature in range(features):
        shuffled = np.tile(raw, (REPEATS, 1))
        shuffled[:, feature] = np.concatenate([rng.permutation(raw[:, feature]) for _ in range(REPEATS)])
        losses = _losses(np.tile(labels, REPEATS), predict(shuffled))
        rises[feature] = losses.reshape(REPEATS, size).mean(axis=1) - before
    return Importance(rises.mean(axis=1), rises.std(axis=1, ddof=1), size, REPEATS)


def _losses(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    losses: NDArray[np.float64] = -np.log(np.maximum(right, np.finfo(np.float64).eps))
    return losses
