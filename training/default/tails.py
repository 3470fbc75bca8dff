"""Finds tails of columns where customers behave unlike their neighbours: jumps too rare for a smooth network.

For each end of each quantity, the customers beyond a cut (at least 8, at most 3 %) may have their logit shifted as
one. If the best shift of an out-of-fold model gains enough likelihood, the tail gets an indicator. The cut itself is
uncertain, so it is found anew on bootstrap samples (Breiman, 1996, "Bagging predictors"): the indicator is a staircase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.default.trees import JUDGE_FOLDS, fold, loss, make_judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.config import Config

MIN_ROWS = 8
MAX_SHARE = 0.03
MIN_VALUES = 20
"""A column of fewer different values is one-hot encoded already, or nearly."""
BOOTSTRAPS = 20
CLIP_SHARE = 0.01
"""The judge sees each column cut off at this quantile and its complement, so that it can't know the tails itself."""

_SHIFTS = np.concatenate([np.arange(-4, 0, 0.5), np.arange(0.5, 4.1, 0.5)])


@dataclass(frozen=True, slots=True)
class Tail:
    """One end of one column.

    Attributes
    ----------
    column : int
    sign : {1, -1}
        1: the low end; -1: the high end.
    cuts : tuple of float
        Where it may begin, one a bootstrap sample.
    """

    column: int
    sign: int
    cuts: tuple[float, ...]


def predict_without_tails(
    matrix: NDArray[np.float32], labels: NDArray[np.float32], quantities: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Return out-of-fold probabilities, shape (n,), of trees that see no tail of a quantity."""
    clipped = matrix.copy()
    low, high = np.quantile(matrix[:, quantities], [CLIP_SHARE, 1 - CLIP_SHARE], axis=0)
    clipped[:, quantities] = np.clip(matrix[:, quantities], low, high)
    probabilities = np.zeros(len(labels))
    for taught, left_out in fold(labels, JUDGE_FOLDS, seed):
        judge = make_judge(seed).fit(clipped[taught], labels[taught])
        probabilities[left_out] = judge.predict_proba(clipped[left_out])[:, 1]
    return probabilities


def find_tails(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    probabilities: NDArray[np.float64],
    quantities: NDArray[np.int64],
    config: Config,
    seed: int,
) -> list[Tail]:
    """Find the tails that gain at least ``config.tail_gain`` nats, the most gainful first.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    probabilities : ndarray of float64, shape (n,)
        Of `predict_without_tails`.
    quantities : ndarray of int64
        Columns that are scaled quantities.
    config : Config
    seed : int
    """
    if config.max_tails == 0:
        return []
    eligible = [int(column) for column in quantities if len(np.unique(matrix[:, column])) >= MIN_VALUES]
    found = _scan(matrix, labels, probabilities, eligible)
    ends = sorted((end for end in found if found[end][0] >= config.tail_gain), key=lambda end: -found[end][0])
    ends = ends[: config.max_tails]
    cuts: dict[tuple[int, int], list[float]] = {end: [] for end in ends}
    generator = np.random.default_rng(seed)
    for _ in range(BOOTSTRAPS if ends else 0):
        rows = generator.integers(0, len(labels), len(labels))
        again = _scan(matrix[rows], labels[rows], probabilities[rows], sorted({column for column, _ in ends}))
        for end in ends:
            if end in again:
                cuts[end].append(again[end][1])
    return [Tail(column, sign, tuple(cuts[column, sign]) or (found[column, sign][1],)) for column, sign in ends]


def _scan(
    matrix: NDArray[np.float32], labels: NDArray[np.float32], probabilities: NDArray[np.float64], columns: list[int]
) -> dict[tuple[int, int], tuple[float, float]]:
    """Return (gain, cut) of the best tail at each end of each column."""
    inside = np.clip(probabilities, 1e-6, 1 - 1e-6)
    logits = np.log(inside / (1 - inside))
    base = loss(labels, inside)
    gains = np.stack([base - loss(labels, 1 / (1 + np.exp(-(logits + shift)))) for shift in _SHIFTS], axis=1)
    longest = int(MAX_SHARE * len(labels)) + 1
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for column in columns:
        for sign in (1, -1):
            values = matrix[:, column].astype(np.float64) * sign
            order = np.argsort(values, kind="stable")[:longest]
            ordered = values[order]
            possible = (ordered[1:] > ordered[:-1]) & (np.arange(1, len(ordered)) >= MIN_ROWS)
            if possible.any():
                reached = np.where(possible, gains[order].cumsum(axis=0).max(axis=1)[:-1], -np.inf)
                end = int(reached.argmax())
                best[column, sign] = float(reached[end]), float((ordered[end] + ordered[end + 1]) / 2 * sign)
    return best


def mark_tails(matrix: NDArray[np.float32], tails: list[Tail]) -> NDArray[np.float32]:
    """Return each tail's staircase, shape (n, tails): the share of its cuts a customer is beyond."""
    columns = [
        np.mean([matrix[:, tail.column] * tail.sign < np.float32(cut) * tail.sign for cut in tail.cuts], axis=0)
        for tail in tails
    ]
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((len(matrix), 0), np.float32)
