"""Groups of customers by the values of a feature: categories, flags, and ranges of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.dates import write_date

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.feature import Feature

MAX_LEVELS = 12
"""Maximum number of groups of a feature; rarer values are combined."""
FEW_LEVELS = 6
"""An integer with at most this many values has one group per value."""
BANDS = 4
"""Ranges of a number."""


def split_feature(feature: Feature, column: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the groups of a feature: a name and a mask of its customers.

    Parameters
    ----------
    feature : Feature
    column : ndarray of float64, shape (n,)
        Encoded values; NaN is a missing value.
    """
    present = ~np.isnan(column)
    if is_banded(feature, column):
        yield from _split_bands(feature, column)
    else:
        yield from _split_levels(feature, column)
    if not present.all():
        yield "missing", ~present


def is_banded(feature: Feature, column: NDArray[np.float64]) -> bool:
    """Return whether the groups of a feature are ranges of numbers, instead of its values.

    Parameters
    ----------
    feature : Feature
    column : ndarray of float64, shape (n,)
        Encoded values; NaN is a missing value.
    """
    if feature.kind == "integer":
        return len(np.unique(column[~np.isnan(column)])) > FEW_LEVELS
    return feature.is_quantity


def _split_levels(feature: Feature, column: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    common = np.sort(values[np.argsort(-counts, kind="stable")[:MAX_LEVELS]])
    for value in common:
        yield _name_level(feature, float(value)), column == value
    rest = ~np.isin(column, common) & ~np.isnan(column)
    if rest.any():
        yield f"{len(values) - len(common)} rarer values", rest


def _name_level(feature: Feature, value: float) -> str:
    if feature.kind == "category":
        return feature.levels[int(value)]
    if feature.kind == "flag":
        return "yes" if value else "no"
    return f"{value:g}"


def _split_bands(feature: Feature, column: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    present = column[~np.isnan(column)]
    if not len(present):
        return
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BANDS + 1)[1:-1], method="lower"))
    band = np.where(np.isnan(column), -1, np.searchsorted(edges, column, side="left"))
    for index in range(len(edges) + 1):
        members = band == index
        if members.any():
            low, high = float(column[members].min()), float(column[members].max())
            yield _name_band(low, high, feature), members


def _name_band(low: float, high: float, feature: Feature) -> str:
    if low == high:
        return _plain(low, feature)
    return f"{_plain(low, feature)} to {_plain(high, feature)}"


def _plain(value: float, feature: Feature) -> str:
    if feature.kind == "date":
        return write_date(value)
    if feature.kind == "integer" or abs(value) >= 1000 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.4g}"
