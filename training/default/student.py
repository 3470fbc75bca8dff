"""One small network that says what the stack says: for budgets below what the stack costs.

Knowledge distillation (Hinton et al., 2015) on the probabilities of the teacher, of real customers and of made-up ones
(Bucila et al., 2006, "Model compression"). The student sees standard scores and indicators, and each tail of a quantity
as a ramp over its cuts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keras
import numpy as np
from scipy import sparse

from training.default.assemble import add_bins, add_dense
from training.default.inputs import Inputs, standardise
from training.default.made_up import make_up_customers
from training.default.networks import Recipe, fit_networks, predict_member

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.default.bins import Bins
    from training.default.networks import Activation, NetworkBag
    from training.default.oblivious import ObliviousTrees

    Floats = NDArray[np.float32]
    Teacher = Callable[[Floats], NDArray[np.floating]]
    """From a matrix to probabilities, shape (n,)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Hidden layers of a student: their units, and the activation of all of them."""

    hidden: tuple[int, ...]
    activation: Activation


SHAPES = (
    # SiLU units follow better, but in float64 their exponentials take as long as everything else.
    Shape((64, 32), "relu"),
    Shape((64, 32), "silu"),
    Shape((128, 64), "silu"),
    Shape((256, 128), "silu"),
    Shape((512, 256), "silu"),
)
"""Quickest first."""
ROWS = 200_000
"""Real and made-up customers to learn from, together; fewer where the matrix is wide."""
MOST_NUMBERS = 30_000_000
"""Numbers of the matrix of customers to learn from, at most."""
REAL_COPIES = 4
RAMP_QUANTILES = (0.02, 0.2, 0.5, 0.8, 0.98)
"""Of the shift of a tail's logit: where the ramp that stands for it has its edges, about."""
WATCHED_SHARE = 0.02
"""Share of the customers that decides which epoch is kept."""
RECIPE = Recipe(
    hidden=(), dropout=0.0, noise=0.0, weight_decay=0.0, learning_rate=0.01, averaging=0.99, epochs=1, batch_size=512,
    row_visits=2_500_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Student:
    """A fitted student.

    Attributes
    ----------
    inputs : Inputs
    bag : NetworkBag
        Of one member.
    activation : {"silu", "relu"}
        Of its hidden units.
    """

    inputs: Inputs
    bag: NetworkBag
    activation: Activation

    def predict(self, matrix: Floats) -> NDArray[np.float64]:
        """Return logits, shape (n,)."""
        seen = self.inputs.read(self.inputs.bins.encode(matrix))
        return predict_member(self.bag.kernels, self.bag.biases, 0, seen, self.activation).astype(np.float64)

    def assemble(self, width: int) -> keras.Model:
        """Return the student as a Keras model, from the preprocessor's matrix of so many columns to a probability."""
        customer = keras.Input((width,), name="customer")
        layers = add_bins(customer, self.inputs.bins, "bins")
        weights = [(kernel[0], bias[0, 0]) for kernel, bias in zip(self.bag.kernels, self.bag.biases, strict=True)]
        first, *inner, (kernel, bias) = weights
        for number, (above, start) in enumerate([self.inputs.merge(*first), *inner]):
            layers = add_dense(layers, above, start, f"hidden_{number}", self.activation)
        return keras.Model(customer, add_dense(layers, kernel, bias, "probability", "sigmoid"))


def find_inputs(
    matrix: Floats,
    quantities: NDArray[np.int64],
    columns: NDArray[np.int64],
    features: int,
    tails: ObliviousTrees,
) -> Inputs:
    """Return the inputs of a student: standard scores, indicators, and a ramp for each tail among the columns.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    quantities : ndarray of int64
        Columns that are quantities.
    columns : ndarray of int64
        All columns to see.
    features : int
        Features that the columns belong to.
    tails : ObliviousTrees
        Trees of one comparison, one per cut.
    """
    inputs = standardise(matrix, quantities, columns, features)
    ramps = _find_ramps(matrix, inputs.bins, tails)
    if not ramps:
        return inputs
    bins, readout = inputs.bins, inputs.readout.tocoo()
    cells, used = bins.lower.shape[1], np.zeros(len(bins.columns), np.int64)
    for ramp in ramps:
        used[ramp.row] += len(ramp.rises)
    wider = cells + int(used.max())
    lower, inverse = (np.pad(part, ((0, 0), (0, wider - cells))) for part in (bins.lower, bins.inverse))
    # The bins of a quantity stand together, so those known move to make room for the ramps; other columns move too.
    known, size = readout.row < bins.lower.size, lower.size
    places = np.where(known, readout.row // cells * wider + readout.row % cells, readout.row + size - bins.lower.size)
    rows, columns_read, weights = [places], [readout.col], [readout.data]
    free = np.full(len(bins.columns), cells)
    for number, ramp in enumerate(ramps, readout.shape[1]):
        here = free[ramp.row] + np.arange(len(ramp.rises))
        lower[ramp.row, here], inverse[ramp.row, here] = ramp.edges[:-1], 1 / np.diff(ramp.edges)
        rows.append(ramp.row * wider + here)
        columns_read.append(np.full(len(here), number))
        weights.append(ramp.rises)
        free[ramp.row] += len(here)
    joined = tuple(np.concatenate(part) for part in (weights, rows, columns_read))
    shape = (size + len(bins.others), readout.shape[1] + len(ramps))
    zeros = np.zeros(len(ramps))
    return Inputs(
        replace(bins, lower=lower, inverse=inverse, rises=np.zeros_like(lower)),
        sparse.csr_array((joined[0], joined[1:]), shape=shape),
        np.append(inputs.start, zeros),
        np.append(inputs.noisy, zeros).astype(np.float32),
        inputs.fan_in,
    )


@dataclass(frozen=True, slots=True)
class _Ramp:
    """A tail as an input that rises from 0 to 1 over some bins: edges, and by how much it rises over each bin."""

    row: int
    edges: NDArray[np.float64]
    rises: NDArray[np.float64]


def _find_ramps(matrix: Floats, bins: Bins, tails: ObliviousTrees) -> list[_Ramp]:
    """Return a ramp for each end of each column that has cuts: it rises where the shifts of the logit are."""
    ramps = []
    for row, column in enumerate(bins.columns):
        here = tails.columns[0] == column
        order = np.argsort(tails.borders[0, here])
        cuts = tails.borders[0, here].astype(np.float64)[order]
        shifts = np.abs(np.diff(tails.leaves[here], axis=1)[order, 0])
        values = np.unique(matrix[:, column]).astype(np.float64)
        low = cuts < np.median(matrix[:, column])
        for side in (low, ~low):
            if shifts[side].sum() > 0:
                edges, rises = _find_edges(cuts[side], shifts[side], values)
                ramps.append(_Ramp(row, edges, rises))
    return ramps


def _find_edges(
    cuts: NDArray[np.float64], shifts: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return edges and rises for sorted cuts; a cut alone becomes a ramp from one value of the column to the next."""
    risen = shifts.cumsum() / shifts.sum()
    chosen = np.unique(np.searchsorted(risen, RAMP_QUANTILES).clip(0, len(cuts) - 1))
    below = values[max(0, np.searchsorted(values, cuts[chosen[0]], "right") - 1)]
    above = values[min(len(values) - 1, np.searchsorted(values, cuts[chosen[-1]], "right"))]
    inner = cuts[chosen]
    edges = np.unique(np.concatenate([[below], inner[(inner > below) & (inner < above)], [above]]))
    if len(edges) < 2:
        edges = np.array([below - 1.0, below])
    # Half of a cut's shift belongs to either side of it.
    reached = np.interp(edges, cuts, risen - shifts / shifts.sum() / 2)
    reached[0], reached[-1] = 0.0, 1.0
    return edges, np.diff(reached)


def distil(
    teacher: Teacher,
    matrix: Floats,
    groups: list[NDArray[np.int64]],
    quantities: NDArray[np.int64],
    inputs: Inputs,
    shape: Shape,
    seed: int,
) -> Student:
    """Fit a student to what a teacher says of real and of made-up customers.

    Parameters
    ----------
    teacher : callable
    matrix : ndarray of float32, shape (n, width)
        Real customers.
    groups : list of ndarray of int64
        Columns of each feature.
    quantities : ndarray of int64
        Columns that may be moved in made-up customers.
    inputs : Inputs
        What the student sees.
    shape : Shape
    seed : int
    """
    generator = np.random.default_rng(seed)
    most = max(REAL_COPIES, min(ROWS, MOST_NUMBERS // matrix.shape[1]))
    copies = min(REAL_COPIES, max(1, most // len(matrix) // 2))
    real = np.tile(np.arange(len(matrix)), copies)[:most]
    made = make_up_customers(matrix, groups, quantities, max(len(matrix), most - len(real)), generator)
    rows = np.concatenate([matrix[real], made])
    said = np.asarray(teacher(rows), dtype=np.float32)
    order = generator.permutation(len(rows))
    watched = max(1, round(WATCHED_SHARE * len(rows)))
    fold = (order[watched:], order[:watched])
    seen = inputs.read(inputs.bins.encode(rows))
    recipe = replace(
        RECIPE, hidden=shape.hidden, activation=shape.activation, epochs=max(1, RECIPE.row_visits // len(rows))
    )
    noisy = np.zeros(seen.shape[1], np.float32)
    bag = fit_networks([seen[fold[0]]], seen, said, [fold], noisy, inputs.fan_in, recipe, seed)
    return Student(inputs, bag, shape.activation)


def count_weights(inputs: Inputs, hidden: tuple[int, ...]) -> int:
    """Return the number of weights of a student with hidden layers of these units."""
    units = (inputs.bins.width, *hidden, 1)
    return sum((above + 1) * below for above, below in itertools.pairwise(units))
