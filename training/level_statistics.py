"""Numbers in place of a category's many levels: how often customers of each level left.

A level's statistic is the log odds of leaving among its rows, drawn towards the table's own by `PRIOR_ROWS` rows
(Micci-Barreca, 2001, "A preprocessing scheme for high-cardinality categorical attributes"). It is worked out once for
each fold, on the rows that the fold is fitted on, so that no held-out row has a part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PRIOR_ROWS = 20.0
INNER_FOLDS = 5


@dataclass(frozen=True, slots=True)
class LevelTable:
    """The statistic of each level of one category, for one fold.

    Attributes
    ----------
    position : int
        The raw column.
    fold : int
    numbers : ndarray of float64, shape (levels + 1,)
        By the level's code; the last is for gaps and for levels that are not listed.
    """

    position: int
    fold: int
    numbers: NDArray[np.float64]

    def look_up(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the statistic of each code, NaN being a gap.

        Parameters
        ----------
        codes : ndarray of float64, shape (n,)
        """
        last = len(self.numbers) - 1
        return self.numbers[np.where(np.isnan(codes), last, np.minimum(codes, last)).astype(np.int64)]


@dataclass(frozen=True, slots=True)
class FoldedLabels:
    """Labels and the folds over them.

    Attributes
    ----------
    labels : ndarray of float32, shape (n,)
    folds : list of (ndarray of int64, ndarray of int64)
        Rows to fit on, and rows held out.
    seed : int
    """

    labels: NDArray[np.float32]
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    seed: int


def fit_level_tables(
    raw: NDArray[np.float64], told: FoldedLabels, levels: dict[int, int]
) -> tuple[list[LevelTable], list[NDArray[np.float32]]]:
    """Work out the statistics of some categories, fold by fold.

    Parameters
    ----------
    raw : ndarray of float64, shape (n, features)
    told : FoldedLabels
    levels : dict of int to int
        Number of levels of each category, by its raw column.

    Returns
    -------
    tables : list of LevelTable
    inner : list of ndarray of float32, shape (n,)
        For each table, what the rows that its fold is fitted on get: statistics without their own label. NaN elsewhere.
    """
    tables, inner = [], []
    for position, count in levels.items():
        codes = np.where(np.isnan(raw[:, position]), count, np.minimum(raw[:, position], count)).astype(np.int64)
        for fold, (rows, _) in enumerate(told.folds):
            labels = told.labels[rows]
            tables.append(LevelTable(position, fold, count_levels(codes[rows], labels, count)))
            values = np.full(len(raw), np.nan, np.float32)
            parts = min(INNER_FOLDS, int(min((labels == 1).sum(), (labels == 0).sum())))
            splitter = StratifiedKFold(parts, shuffle=True, random_state=told.seed) if parts > 1 else None
            for fitted, left in splitter.split(labels, labels) if splitter else ():
                values[rows[left]] = count_levels(codes[rows[fitted]], labels[fitted], count)[codes[rows[left]]]
            inner.append(np.where(np.isnan(values) & np.isin(np.arange(len(raw)), rows), 0, values).astype(np.float32))
    return tables, inner


def count_levels(codes: NDArray[np.int64], labels: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Return the statistic of each code from 0 to count, shape (count + 1,)."""
    share = float(labels.mean())
    left = np.bincount(codes, labels, count + 1) + PRIOR_ROWS * share
    stayed = np.bincount(codes, 1 - labels, count + 1) + PRIOR_ROWS * (1 - share)
    return np.asarray(np.log(left / stayed) - np.log(share / (1 - share)), dtype=np.float64)


class LevelStatistics(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Scikit-learn's form of level tables: takes one column of objects a category, gives one column a table.

    Parameters
    ----------
    words : list of list of str
        The levels of each column, by their codes.
    sources : list of int
        Which of the columns each table reads.
    numbers : list of ndarray of float64
    """

    def __init__(
        self, words: Sequence[Sequence[str]], sources: Sequence[int], numbers: Sequence[NDArray[np.float64]]
    ) -> None:
        self.words = words
        self.sources = sources
        self.numbers = numbers

    def fit(self, _: Any, y: Any = None) -> LevelStatistics:  # noqa: ANN401, ARG002  scikit-learn's signature
        """Return itself: the statistics were given."""
        self.n_features_in_ = len(self.words)
        return self

    def transform(self, columns: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the statistics, shape (n, tables)."""
        codes = []
        for words, column in zip(self.words, columns.T, strict=True):
            known = {word: code for code, word in enumerate(words)}
            codes.append(np.array([known.get(word, len(words)) for word in column], dtype=np.int64))
        return np.stack(
            [numbers[codes[source]] for source, numbers in zip(self.sources, self.numbers, strict=True)], axis=1
        )
