"""The families on the bins: networks of several kinds, and the linear model, cross-validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.default.bins import Bins, find_bins
from training.default.folds import losses_of
from training.default.linear import LinearBag, fit_linear
from training.default.networks import NetworkBag, Recipe, fit_networks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.config import Config
    from training.default.folds import Fold
    from training.default.views import Views

KINDS = ("one hidden layer", "two hidden layers", "smooth, two hidden layers")
LEAST_UNITS = 8


@dataclass(frozen=True, slots=True)
class Networks:
    """Fitted networks of one kind, on the bins or the normal scores alone.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    bag : NetworkBag
    bins : Bins
        What they look at.
    own : list of ndarray of float32, shape (bins.width,)
        1 for columns that a fold's member looks at, else 0.
    """

    kind: str
    bag: NetworkBag
    bins: Bins
    own: list[NDArray[np.float32]]

    def kernel_on_bins(self, fold: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a member's first kernel and bias on bins and other columns, shape (bins.width, units).

        A normal score is a sum of bins, so what a unit makes of it can be said in bins.
        """
        bins, width, kernel = self.bins, self.bins.width, self.bag.kernels[0][fold].astype(np.float64)
        quantities, cells = bins.lower.shape
        smooth = self.kind == KINDS[2]
        scores = kernel[:quantities] if smooth else kernel[width : width + quantities]
        on_bins = (bins.rises[:, :, None] * scores[:, None, :]).reshape(quantities * cells, -1)
        rest = kernel[quantities:] if smooth else kernel[quantities * cells : width]
        if not smooth:
            on_bins = on_bins + kernel[: quantities * cells]
        bias = self.bag.biases[0][fold][0] + bins.start.astype(np.float64) @ scores
        return np.concatenate([on_bins, rest]) * self.own[fold][:, None], bias


class Encoded:
    """Bins of the features kept, as each fold sees them."""

    def __init__(self, views: Views, folds: list[Fold], kept: NDArray[np.bool_], most_bins: int) -> None:
        self.bins = find_bins(views.matrix, views.quantities, views.columns_kept(kept), most_bins)
        # Columns that belong to a fold say nothing to the others, and are 0 for them.
        self.own = [self._mask(views, fold) for fold in range(len(folds))]
        self.inside = [
            self.bins.encode(views.fitted(fold, rows)) * own
            for fold, ((rows, _), own) in enumerate(zip(folds, self.own, strict=True))
        ]
        self.held_out = np.empty((len(views.matrix), self.bins.width), np.float32)
        for (_, rows), own in zip(folds, self.own, strict=True):
            self.held_out[rows] = self.bins.encode(views.held_out(rows)) * own

    def _mask(self, views: Views, fold: int) -> NDArray[np.float32]:
        cells = self.bins.lower.shape[1]
        owners = np.concatenate([np.repeat(views.owners[self.bins.columns], cells), views.owners[self.bins.others]])
        return np.isin(owners, (-1, fold)).astype(np.float32)


def fit_linear_family(encoded: Encoded, labels: NDArray[np.float32], folds: list[Fold]) -> LinearBag:
    """Fit the linear model of each fold on bins and other columns."""
    return fit_linear(encoded.inside, encoded.held_out, labels, folds)


def fit_network_families(
    choices: list[Encoded], labels: NDArray[np.float32], folds: list[Fold], config: Config, seed: int
) -> list[Networks]:
    """Fit networks of each kind on each choice of features; keep of each kind the choice that is best out of fold.

    The second kind sees the same bins as the first, so it takes over what was best there.
    """
    families: list[Networks] = []
    best = 0
    for number, kind in enumerate(KINDS[: config.networks]):
        offered = choices if kind != KINDS[1] else choices[best : best + 1]
        fitted = [
            Networks(kind, _fit_kind(kind, encoded, labels, folds, config, seed + number), encoded.bins, encoded.own)
            for encoded in offered
        ]
        losses = [float(losses_of(labels, family.bag.logits).mean()) for family in fitted]
        best = int(np.argmin(losses))
        families.append(fitted[best])
    return families


def _fit_kind(
    kind: str, encoded: Encoded, labels: NDArray[np.float32], folds: list[Fold], config: Config, seed: int
) -> NetworkBag:
    bins, smooth = encoded.bins, kind == KINDS[2]
    quantities, cells = len(bins.columns), int(bins.lower.size)

    def see(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = bins.score(matrix)
        return np.concatenate([scores, matrix[:, cells:]] if smooth else [matrix, scores], axis=1)

    held_out = see(encoded.held_out)
    noisy = np.zeros(held_out.shape[1], np.float32)
    noisy[: quantities if smooth else 0] = noisy[0 if smooth else bins.width : quantities if smooth else None] = 1
    units = _afford(bins.width, len(folds), config.hidden[0] if kind == KINDS[0] else config.hidden[-1], config)
    recipe = Recipe(
        hidden=(units,) if kind == KINDS[0] else (units, units),
        dropout=config.dropout if kind == KINDS[0] else config.dropout / 2 if not smooth else 0.0,
        noise=config.noise,
        weight_decay=config.weight_decay,
        learning_rate=2 * config.learning_rate if smooth else config.learning_rate,
        averaging=config.averaging,
        epochs=config.epochs,
        batch_size=config.batch_size,
    )
    fan_in = quantities + len(bins.others)
    return fit_networks([see(part) for part in encoded.inside], held_out, labels, folds, noisy, fan_in, recipe, seed)


def _afford(width: int, folds: int, wanted: int, config: Config) -> int:
    """Return the units of a member's layer that the multiplications leave, a multiple of `LEAST_UNITS`."""
    units = int(config.multiplications / (width * folds))
    return max(LEAST_UNITS, min(wanted, units) // LEAST_UNITS * LEAST_UNITS)
