"""Choose the levels of categories, and decide whether a text column is a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute
from scipy.stats import chi2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MANY_LEVELS = 30
"""Categories with more levels accept other values as well."""

LEVEL_ROWS = 10
"""Minimum number of rows of a level, if there are many levels."""

MOST_LEVELS = 1000
"""Maximum number of levels."""

ROWS_PER_LEVEL = 5
"""Minimum mean number of rows per level for using all values as levels."""

KEY_SHARE = 0.9
"""A text column with more distinct values than this share of its rows is an identifier."""

TESTED_LEVELS = 100
"""Columns with more distinct values need levels with different shares of leavers."""

SIGNIFICANCE = 0.01


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of a category.

    Attributes
    ----------
    listed : tuple of str
        All values in sorted order, or the most frequent ones in descending order.
    is_open : bool
        Whether other values are accepted as one additional level.
    pooled : int
        Number of distinct values that are not listed.
    share : float
        Share of the rows with a listed value.
    """

    listed: tuple[str, ...]
    is_open: bool
    pooled: int
    share: float


def choose_levels(counts: Mapping[str, int]) -> Levels:
    """Choose the levels of a category: all values if there are few, otherwise those with at least `LEVEL_ROWS` rows.

    Parameters
    ----------
    counts : mapping of str to int
        Number of rows of each value.
    """
    rows = sum(counts.values())
    if len(counts) <= MANY_LEVELS and len(counts) * ROWS_PER_LEVEL <= rows:
        return Levels(tuple(sorted(counts)), is_open=False, pooled=0, share=1.0)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_LEVELS]
    listed = [value for value in ranked if counts[value] >= LEVEL_ROWS]
    share = sum(counts[value] for value in listed) / max(rows, 1)
    return Levels(tuple(listed), is_open=True, pooled=len(counts) - len(listed), share=share)


def find_objection(counts: Mapping[str, int], words: pa.Array, labels: NDArray[np.float64]) -> str | None:
    """Return why a text column is not a category, or None.

    Parameters
    ----------
    counts : mapping of str to int
        Number of rows of each value.
    words : pyarrow.StringArray of length n
        The column; null for missing cells.
    labels : ndarray of float64, shape (n,)
        0, 1, or NaN where the label is missing.
    """
    rows = sum(counts.values())
    if len(counts) > KEY_SHARE * rows:
        return (
            f"it has {len(counts):,} different values in {rows:,} rows, so it names the customer and says nothing "
            "about the next one"
        )
    levels = choose_levels(counts)
    if not levels.listed:
        return (
            f"it has {len(counts):,} different values, none of them in {LEVEL_ROWS} rows or more (--category takes it)"
        )
    if len(counts) <= TESTED_LEVELS:
        return None
    listed = compute.index_in(words, pa.array(levels.listed, pa.string())).fill_null(len(levels.listed))
    chance = test_difference(np.where(np.asarray(words.is_null()), -1, np.asarray(listed)), labels)
    if chance < SIGNIFICANCE:
        return None
    return (
        f"it has {len(counts):,} different values, and those in {LEVEL_ROWS} rows or more do not differ in the share "
        f"of leavers beyond chance (chi-squared test, p = {chance:.2g}; --category takes it all the same)"
    )


def test_difference(codes: NDArray[np.int64], labels: NDArray[np.float64]) -> float:
    """Return the p-value of Pearson's chi-squared test of equal shares of leavers in all levels.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Level of each row.
    labels : ndarray of float64, shape (n,)
        0, 1, or NaN where the label is missing.
    """
    known = ~np.isnan(labels)
    codes, left = np.unique(codes[known], return_inverse=True)[1], labels[known]
    if len(np.unique(codes)) < 2 or len(np.unique(left)) < 2:
        return 1.0
    customers, leavers, share = np.bincount(codes), np.bincount(codes, weights=left), left.mean()
    statistic = ((leavers - customers * share) ** 2 / (customers * share * (1 - share))).sum()
    return float(chi2.sf(statistic, len(customers) - 1))
