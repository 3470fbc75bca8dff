"""Tails of quantities: few rows beyond a cut whose logit differs from their neighbours', too rare for a network.

For each end of each quantity, the rows beyond a cut (at least `LEAST_ROWS`, at most `MOST_SHARE` of all) may have their
logit shifted. A tail is kept if the best shift raises the log likelihood of logits out of fold by enough. The cut is
uncertain, so it is also searched on bootstrap samples (Breiman, 1996, "Bagging predictors"): the shift is spread over
all cuts found. A tail is published as trees of one comparison, one per cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from training.default.folds import losses_of
from training.default.oblivious import ObliviousTrees, average

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.folds import Fold

LEAST_ROWS, MOST_SHARE = 8, 0.03
LEAST_GAIN = 5.0
"""Nats of log likelihood that a tail must gain on the rows that it is searched on."""
MOST_TAILS = 4
LEAST_VALUES = 20
"""A column with fewer distinct values has no tail: networks and trees see each value."""
BOOTSTRAPS = 20
RIDGE = 1.0
"""Penalty on the squared shift of a logit, in nats over all rows."""
NEWTON_STEPS = 20
_SHIFTS = np.concatenate([np.arange(-4, 0, 0.5), np.arange(0.5, 4.1, 0.5)])


@dataclass(frozen=True, slots=True)
class Tail:
    """One end of a column.

    Attributes
    ----------
    column : int
    low : bool
        Whether it is the low end.
    cuts : ndarray of float32, shape (bootstrap samples,)
        The cut of each bootstrap sample; the tail is beyond it.
    """

    column: int
    low: bool
    cuts: NDArray[np.float32]

    def mark(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the share of the cuts that each row is beyond, shape (n,)."""
        above = (matrix[:, self.column, None] > self.cuts).mean(axis=1)
        return np.asarray(1 - above if self.low else above, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class TailBag:
    """Fitted tails of all folds.

    Attributes
    ----------
    trees : ObliviousTrees
        The mean of the folds', as trees of one comparison; empty if no fold has a tail.
    members : list of ObliviousTrees
        Of each fold.
    logits : ndarray of float64, shape (n,)
        Shift of each row by the fold that was not fitted on it.
    """

    trees: ObliviousTrees
    members: list[ObliviousTrees]
    logits: NDArray[np.float64]


def fit_tails(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    logits: NDArray[np.float64],
    columns: NDArray[np.int64],
    folds: list[Fold],
    seed: int,
) -> TailBag:
    """Find the tails of each fold on the rows it is fitted on, and fit their shifts.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    logits : ndarray of float64, shape (n,)
        Out of fold, of the model that the shifts are added to.
    columns : ndarray of int64
        Columns that may have tails.
    folds : list of Fold
    seed : int
    """
    shifts, bag = np.zeros(len(labels)), []
    for number, (rows, held_out) in enumerate(folds):
        generator = np.random.default_rng([seed, number])
        tails = find_tails(matrix[rows], labels[rows], logits[rows], columns, generator)
        found = _fit_shifts(tails, matrix[rows], labels[rows], logits[rows])
        for tail, shift in zip(tails, found, strict=True):
            shifts[held_out] += shift * tail.mark(matrix[held_out])
        bag.append(_to_trees(tails, found))
    return TailBag(_merge(average(bag)), bag, shifts)


def find_tails(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    logits: NDArray[np.float64],
    columns: NDArray[np.int64],
    generator: np.random.Generator,
) -> list[Tail]:
    """Return the tails that gain at least `LEAST_GAIN` nats, best first, at most `MOST_TAILS`.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, columns)
    labels : ndarray of float32, shape (n,)
    logits : ndarray of float64, shape (n,)
        To be shifted.
    columns : ndarray of int64, shape (quantities,)
        Columns to search.
    generator : numpy.random.Generator
        Draws the bootstrap samples.
    """
    eligible = [int(column) for column in columns if len(np.unique(matrix[:, column])) >= LEAST_VALUES]
    base = losses_of(labels, logits)
    gains = np.stack([base - losses_of(labels, logits + shift) for shift in _SHIFTS], axis=1)
    found = _scan(matrix, gains, eligible)
    ends = sorted((end for end in found if found[end][0] >= LEAST_GAIN), key=lambda end: -found[end][0])[:MOST_TAILS]
    cuts: dict[tuple[int, bool], list[float]] = {end: [] for end in ends}
    for _ in range(BOOTSTRAPS if ends else 0):
        rows = generator.integers(0, len(labels), len(labels))
        again = _scan(matrix[rows], gains[rows], sorted({column for column, _ in ends}))
        for end in ends:
            if end in again:
                cuts[end].append(again[end][1])
    return [Tail(*end, np.array(cuts[end] or [found[end][1]], np.float32)) for end in ends]


def _scan(
    matrix: NDArray[np.float32], gains: NDArray[np.float64], columns: list[int]
) -> dict[tuple[int, bool], tuple[float, float]]:
    """Return gain and cut of the best tail at each end of each column."""
    longest = int(MOST_SHARE * len(matrix)) + 1
    best: dict[tuple[int, bool], tuple[float, float]] = {}
    for column in columns:
        values = matrix[:, column].astype(np.float64)
        whole = np.argsort(values, kind="stable")
        for low in (True, False):
            order = whole[:longest] if low else whole[::-1][:longest]
            ordered = values[order]
            possible = (ordered[1:] != ordered[:-1]) & (np.arange(1, len(ordered)) >= LEAST_ROWS)
            if possible.any():
                reached = np.where(possible, gains[order].cumsum(axis=0).max(axis=1)[:-1], -np.inf)
                end = int(reached.argmax())
                best[column, low] = float(reached[end]), float((ordered[end] + ordered[end + 1]) / 2)
    return best


def _fit_shifts(
    tails: list[Tail], matrix: NDArray[np.float32], labels: NDArray[np.float32], logits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shift of each tail that maximises the penalised likelihood, by Newton's method."""
    marks = np.stack([tail.mark(matrix) for tail in tails], axis=1) if tails else np.zeros((len(matrix), 0))
    shifts = np.zeros(len(tails))
    for _ in range(NEWTON_STEPS if tails else 0):
        probabilities = expit(logits + marks @ shifts)
        gradient = marks.T @ (labels - probabilities) - RIDGE * shifts
        weights = probabilities * (1 - probabilities)
        shifts += np.linalg.solve((marks * weights[:, None]).T @ marks + RIDGE * np.eye(len(tails)), gradient)
    return shifts


def _to_trees(tails: list[Tail], shifts: NDArray[np.float64]) -> ObliviousTrees:
    columns, borders, leaves = [], [], []
    for tail, shift in zip(tails, shifts, strict=True):
        for cut in tail.cuts:
            columns.append(tail.column)
            borders.append(cut)
            share = shift / len(tail.cuts)
            leaves.append([share, 0.0] if tail.low else [0.0, share])
    return ObliviousTrees(
        np.array([columns], np.int32).reshape(1, -1),
        np.array([borders], np.float32).reshape(1, -1),
        np.array(leaves, np.float64).reshape(-1, 2),
        0.0,
    )


def _merge(trees: ObliviousTrees) -> ObliviousTrees:
    """Return the same sum with one tree for each distinct comparison."""
    keys = np.stack([trees.columns[0].astype(np.float64), trees.borders[0].astype(np.float64)], axis=1)
    distinct, where = np.unique(keys, axis=0, return_inverse=True)
    leaves = np.zeros((len(distinct), 2))
    np.add.at(leaves, where.ravel(), trees.leaves)
    return ObliviousTrees(
        distinct[:, 0].astype(np.int32)[None], distinct[:, 1].astype(np.float32)[None], leaves, trees.bias
    )
