"""Values that a feature can take for a customer, in the unit of the raw matrix and in that of requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.feature import Feature

LOW_SHARE, HIGH_SHARE = 0.1, 0.9
"""The spread of a column lies between these quantiles, which a few extreme customers don't move."""

MAX_VALUES = 20_000
"""Values of a number that are tried at most; the step between them grows by powers of ten until they are as few."""

_LEAST_EXPONENT = -300

_DIGITS = 3
"""Decimal orders between the spread of a number and its steps: a spread has 1,000 to 10,000 of them."""


def measure_spread(feature: Feature, histogram: Mapping[str, Any]) -> float:
    """Return the distance between the 10 % and 90 % quantiles of a quantity in the training data.

    Quantiles are linear between the edges of the histogram. If they are equal, the spread is the range.

    Parameters
    ----------
    feature : Feature
        Of a kind that is a quantity.
    histogram : mapping
        Its histogram in the manifest.

    Returns
    -------
    float
        0 if the training data have one value, or their range is unknown.
    """
    low, high = feature.trained_minimum, feature.trained_maximum
    if low is None or high is None or not low < high:
        return 0.0
    knots = np.array([low, *np.clip(histogram["edges"], low, high), high])
    counts = np.array(histogram["counts"], dtype=np.float64)
    if not counts.sum():
        return high - low
    shares = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
    spread = float(np.subtract(*np.interp([HIGH_SHARE, LOW_SHARE], shares, knots)))
    return spread if spread > 0 else high - low


def list_quantities(feature: Feature, spread: float, low: float, high: float) -> NDArray[np.float64]:
    """Return the round values of a quantity between two bounds, ascending, both included.

    Values are multiples of a power of ten: of the largest of which a spread has 1,000 or more, but of 1 at least for
    integers, and of 1 for dates.
    """
    if not (spread > 0 and low <= high):
        return np.empty(0)
    # Not finer than the numbers between the bounds can be told apart.
    finest = math.ceil(math.log10(np.spacing(max(abs(low), abs(high)))))
    exponent = max(_LEAST_EXPONENT, finest, math.floor(math.log10(spread)) - _DIGITS)
    if feature.kind != "number":
        exponent = max(0, exponent) if feature.kind == "integer" else 0
    while (high - low) / 10.0**exponent >= MAX_VALUES:
        exponent += 1
    values = _list_multiples(exponent, low, high)
    return values[(values >= low) & (values <= high)]


def _list_multiples(exponent: int, low: float, high: float) -> NDArray[np.float64]:
    """Return the multiples of a power of ten around two bounds, as the numbers nearest to their decimals."""
    step = 10.0 ** abs(exponent)
    if exponent < 0:
        return np.arange(math.floor(low * step), math.ceil(high * step) + 1, dtype=np.float64) / step
    return np.arange(math.floor(low / step), math.ceil(high / step) + 1, dtype=np.float64) * step


def list_points(feature: Feature, own: float, points: int) -> NDArray[np.float64]:
    """Return the values for a curve along a feature, ascending, with the customer's own value among them.

    Parameters
    ----------
    feature : Feature
    own : float
        The customer's value; NaN if it is missing, and then not among the values.
    points : int
        Maximum number of values, at least 2.

    Returns
    -------
    ndarray of float64, shape (at most points,)
        Levels of a category (the first ones, if there are more), both values of a flag, and evenly spaced values of
        the range that training saw, rounded, for a quantity.
    """
    given = [] if math.isnan(own) else [own]
    room = points - len(given)
    if not feature.is_quantity:
        levels = len(feature.levels) if feature.kind == "category" else 2
        return np.union1d(np.arange(min(levels, points if own < room else room), dtype=np.float64), given)
    low, high = feature.trained_minimum, feature.trained_maximum
    if low is None or high is None:
        return np.array(given, dtype=np.float64)
    decimals = 0
    if feature.kind == "number" and high > low:
        decimals = 1 - math.floor(math.log10((high - low) / points))
    even = _space_evenly(low, high, points, decimals)
    if own not in even:
        even = _space_evenly(low, high, room, decimals)
    return np.union1d(even, given)


def _space_evenly(low: float, high: float, count: int, decimals: int) -> NDArray[np.float64]:
    even = np.linspace(low, high, count)
    # The ends are not rounded: training saw nothing beyond them.
    even[1:-1] = np.clip(np.round(even[1:-1], decimals), low, high)
    return even


def find_trained_levels(feature: Feature, histogram: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the listed categories, or the values of a flag, that training saw, as numbers of the raw matrix.

    The levels behind the last bin of an open category's histogram have been seen as well, since training listed them.
    """
    names = feature.categories if feature.kind == "category" else ("0", "1")
    unseen = {name for name, count in zip(histogram["values"], histogram["counts"], strict=True) if not count}
    return np.array([position for position, name in enumerate(names) if name not in unseen], dtype=np.int64)


def show(feature: Feature, value: float) -> Any:  # noqa: ANN401  a JSON value
    """Return a number of the raw matrix as a value that a request may contain; NaN becomes None."""
    if math.isnan(value):
        return None
    if feature.kind == "category":
        return feature.levels[int(value)]
    if feature.kind in ("flag", "integer"):
        return int(value)
    return feature.show(value)
