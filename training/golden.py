"""Golden rows: made-up customers with the probabilities that the model must always return for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.trust.relations import MAX_COVERED_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

ROWS = 32
"""Number of golden rows, unless a category needs more to be covered."""


def draw_golden_rows(schema: Schema, raw: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draw each column independently from the table, so that no row is a real customer.

    The levels of each category, or the `MAX_COVERED_LEVELS` most frequent ones, occur at least once, and so does a
    missing category, where one is allowed.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    seed : int

    Returns
    -------
    ndarray of float64, shape (`ROWS` or more, features)
    """
    generator = np.random.default_rng(seed)
    needed = [_choose_levels(feature, column) for feature, column in zip(schema.features, raw.T, strict=True)]
    rows = max(ROWS, *map(len, needed))
    columns = []
    for column, levels in zip(raw.T, needed, strict=True):
        drawn = generator.choice(column, rows)
        drawn[generator.permutation(rows)[: len(levels)]] = levels
        columns.append(drawn)
    return np.column_stack(columns)


def _choose_levels(feature: Feature, column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the raw values of a category that must occur; none for other kinds."""
    if feature.kind != "category":
        return np.empty(0)
    counts = np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=len(feature.levels))
    levels = np.argsort(-counts, kind="stable")[:MAX_COVERED_LEVELS].astype(np.float64)
    return np.append(levels, np.nan) if feature.nullable else levels
