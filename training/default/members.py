"""The families on bins, cross-validated: networks of several kinds, and the linear model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from training.default.bins import find_bins
from training.default.folds import losses_of
from training.default.inputs import Inputs, read_bins, read_scores, standardise
from training.default.linear import LinearBag, fit_linear
from training.default.networks import NetworkBag, Recipe, fit_networks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.default.bins import Bins
    from training.default.config import Config
    from training.default.folds import Fold
    from training.default.views import Views

    Features = NDArray[np.bool_]

STANDARD = "standard scores, two hidden layers"
SMOOTH = "normal scores, two hidden layers"
ONE_LAYER, TWO_LAYERS = "bins, one hidden layer", "bins, two hidden layers"
KINDS = (ONE_LAYER, TWO_LAYERS, SMOOTH, STANDARD)
LEAST_UNITS = 8
STANDARD_UNITS = (64, 64)
STANDARD_VISITS = 250_000
"""Rows shown to a member on standard scores, at most: it is fitted several times, to choose its features."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Fitted networks of one kind.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    bag : NetworkBag
    inputs : Inputs
    own : list of ndarray of float32, shape (bins.width,)
        1 for columns that a fold's member uses, else 0.
    """

    kind: str
    bag: NetworkBag
    inputs: Inputs
    own: list[NDArray[np.float32]]

    def merge_inputs(self, fold: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a member's first kernel and bias on the bins and other columns, shape (bins.width, units)."""
        kernel, bias = self.inputs.merge(self.bag.kernels[0][fold], self.bag.biases[0][fold][0])
        return kernel * self.own[fold][:, None], bias

    def of_fold(self, fold: int) -> Networks:
        """Return the member of one fold alone."""
        kernels, biases = ([part[fold : fold + 1] for part in parts] for parts in (self.bag.kernels, self.bag.biases))
        return Networks(
            self.kind, replace(self.bag, kernels=kernels, biases=biases), self.inputs, self.own[fold : fold + 1]
        )


class Encoded:
    """Bins of some features, as each fold sees them."""

    def __init__(self, views: Views, folds: list[Fold], bins: Bins) -> None:
        self.bins = bins
        # A column that belongs to one fold tells the others nothing, and is 0 for them.
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


def encode(views: Views, folds: list[Fold], kept: Features, most_bins: int) -> Encoded:
    """Encode the features kept as bins between quantiles."""
    return Encoded(views, folds, find_bins(views.matrix, views.quantities, views.columns_kept(kept), most_bins))


def fit_linear_family(encoded: Encoded, labels: NDArray[np.float32], folds: list[Fold]) -> LinearBag:
    """Fit the linear model of each fold on bins and other columns.

    Parameters
    ----------
    encoded : Encoded
    labels : ndarray of float32, shape (n,)
        0 or 1.
    folds : list of Fold
    """
    return fit_linear(encoded.inside, encoded.held_out, labels, folds)


def fit_network_families(
    choices: list[Encoded], labels: NDArray[np.float32], folds: list[Fold], config: Config, seed: int
) -> list[Networks]:
    """Fit the kinds on bins for each choice of features; keep the choice with the lowest loss out of fold.

    The kind of two layers on bins uses the choice of the first, which has the same inputs.

    Parameters
    ----------
    choices : list of Encoded
        Each with the bins of some features.
    labels : ndarray of float32, shape (n,)
        0 or 1.
    folds : list of Fold
    config : Config
    seed : int
        Of the first kind; each further one has the next seed.

    Returns
    -------
    list of Networks
        One of each kind.
    """
    families: list[Networks] = []
    best = 0
    for number, kind in enumerate(KINDS[: min(config.networks, KINDS.index(STANDARD))]):
        offered = choices[best : best + 1] if kind == TWO_LAYERS else choices
        fitted = []
        for encoded in offered:
            inputs = read_scores(encoded.bins) if kind == SMOOTH else read_bins(encoded.bins)
            recipe = _make_recipe(kind, inputs, len(folds), config)
            fitted.append(_fit_kind(kind, encoded, inputs, labels, folds, recipe, seed + number))
        best = _find_best(fitted, labels)
        families.append(fitted[best])
    return families


def fit_standard_family(
    views: Views,
    choices: Sequence[Features],
    labels: NDArray[np.float32],
    folds: list[Fold],
    config: Config,
    seed: int,
) -> Networks:
    """Fit networks on standard scores for each choice of features; keep the choice with the lowest loss out of fold.

    Parameters
    ----------
    views : Views
    choices : sequence of ndarray of bool, shape (features,)
    labels : ndarray of float32, shape (n,)
        0 or 1.
    folds : list of Fold
    config : Config
    seed : int
    """
    fitted = []
    for kept in choices:
        inputs = standardise(views.matrix, views.quantities, views.columns_kept(kept), int(kept.sum()))
        recipe = _make_recipe(STANDARD, inputs, len(folds), config)
        encoded = Encoded(views, folds, inputs.bins)
        fitted.append(_fit_kind(STANDARD, encoded, inputs, labels, folds, recipe, seed))
    return fitted[_find_best(fitted, labels)]


def _find_best(fitted: list[Networks], labels: NDArray[np.float32]) -> int:
    return int(np.argmin([losses_of(labels, family.bag.logits).mean() for family in fitted]))


def _fit_kind(
    kind: str,
    encoded: Encoded,
    inputs: Inputs,
    labels: NDArray[np.float32],
    folds: list[Fold],
    recipe: Recipe,
    seed: int,
) -> Networks:
    inside = [inputs.read(part) for part in encoded.inside]
    bag = fit_networks(inside, inputs.read(encoded.held_out), labels, folds, inputs.noisy, inputs.fan_in, recipe, seed)
    return Networks(kind, bag, inputs, encoded.own)


def _make_recipe(kind: str, inputs: Inputs, folds: int, config: Config) -> Recipe:
    common = Recipe(
        hidden=(),
        dropout=config.dropout,
        noise=config.noise,
        weight_decay=config.weight_decay,
        learning_rate=config.learning_rate,
        averaging=config.averaging,
        epochs=config.epochs,
        batch_size=config.batch_size,
    )
    width = inputs.bins.width
    if kind == STANDARD:
        first, second = (_afford(width, folds, units, config) for units in STANDARD_UNITS)
        return replace(
            common,
            hidden=(first, second),
            weight_decay=0.3 * config.weight_decay,
            learning_rate=3 * config.learning_rate,
            epochs=-(-config.epochs // 2),
            batch_size=2 * config.batch_size,
            row_visits=STANDARD_VISITS,
        )
    units = _afford(width, folds, config.hidden[0] if kind == ONE_LAYER else config.hidden[-1], config)
    if kind == ONE_LAYER:
        return replace(common, hidden=(units,))
    if kind == TWO_LAYERS:
        return replace(common, hidden=(units, units), dropout=config.dropout / 2)
    return replace(common, hidden=(units, units), dropout=0.0, learning_rate=2 * config.learning_rate)


def _afford(width: int, folds: int, wanted: int, config: Config) -> int:
    """Return the units of a member's layer that the multiplications leave, a multiple of `LEAST_UNITS`."""
    units = int(config.multiplications / (width * folds))
    return max(LEAST_UNITS, min(wanted, units) // LEAST_UNITS * LEAST_UNITS)
