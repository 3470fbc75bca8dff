"""What may be changed about a customer: the actionable features with the values that each may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.whatif.values import find_trained_levels, list_quantities, measure_spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """An actionable feature of one customer.

    Attributes
    ----------
    position : int
        Of the feature in the schema.
    values : ndarray of float64, shape (n,)
        The values that may be proposed, ascending; the customer's own is not among them.
    distances : ndarray of float64, shape (n,)
        Distance of each from the customer's own: in spreads of the training data for a quantity, else 1.
    below : int
        Number of values below the customer's own.
    is_ordered : bool
        Whether the values are quantities.
    """

    position: int
    values: NDArray[np.float64]
    distances: NDArray[np.float64]
    below: int
    is_ordered: bool


def make_axes(
    schema: Schema, histograms: Mapping[str, Any], row: NDArray[np.float64]
) -> tuple[list[Axis], dict[str, str]]:
    """Return what may be changed about a customer.

    A proposed value is one that training saw, in the direction and within the bounds of the feature's mark, and a round
    one. A missing value is not changed, since nobody knows from where.

    Parameters
    ----------
    schema : Schema
    histograms : mapping
        Histograms of the training data by feature, as in the manifest.
    row : ndarray of float64, shape (features,)
        The customer: a validated row of the raw matrix.

    Returns
    -------
    axes : list of Axis
        In the order of the schema.
    fixed : dict of str to str
        Actionable features that can't be changed for this customer, each with the reason as a clause.
    """
    axes, fixed = [], {}
    for position, feature in enumerate(schema.features):
        if not feature.actionable:
            continue
        own = float(row[position])
        if math.isnan(own):
            fixed[feature.name] = "is missing"
            continue
        axis = _make_axis(position, feature, histograms[feature.name], own)
        if len(axis.values):
            axes.append(axis)
        else:
            words = {"any": "changed", "increase": "increased", "decrease": "decreased"}[feature.actionable]
            fixed[feature.name] = f"can't be {words} further within what is allowed and training saw"
    return axes, fixed


def _make_axis(position: int, feature: Feature, histogram: Mapping[str, Any], own: float) -> Axis:
    if feature.is_quantity:
        spread = measure_spread(feature, histogram)
        values = list_quantities(feature, spread, *_find_bounds(feature)) if spread > 0 else np.empty(0)
    else:
        spread, values = 1.0, find_trained_levels(feature, histogram).astype(np.float64)
    if feature.actionable == "increase":
        values = values[values > own]
    elif feature.actionable == "decrease":
        values = values[values < own]
    values = values[values != own]
    distances = np.abs(values - own) / spread if feature.is_quantity else np.ones(len(values))
    return Axis(position, values, distances, int(np.count_nonzero(values < own)), feature.is_quantity)


def _find_bounds(feature: Feature) -> tuple[float, float]:
    lows = (feature.trained_minimum, feature.minimum, feature.actionable_minimum)
    highs = (feature.trained_maximum, feature.maximum, feature.actionable_maximum)
    return max(low for low in lows if low is not None), min(high for high in highs if high is not None)
