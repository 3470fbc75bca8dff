"""Probability along the values of a feature, with everything else as it is (individual conditional expectation).

Goldstein, Kapelner, Bleich and Pitkin (2015), "Peeking Inside the Black Box: Visualizing Statistical Learning with
Plots of Individual Conditional Expectation".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.whatif.values import list_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.whatif.steps import Steps


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Probabilities along one feature.

    Attributes
    ----------
    position : int
        Of the feature in the schema.
    values : ndarray of float64, shape (n,)
        Ascending, as in the raw matrix.
    probabilities : ndarray of float64, shape (n,)
    own : int or None
        Place of the customer's own value; None if it is missing.
    missing : float or None
        Probability with a missing value; None if the feature is not nullable.
    """

    position: int
    values: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    own: int | None
    missing: float | None


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Curves of one customer, and the customer's probability."""

    probability: float
    curves: tuple[Curve, ...]


def trace(schema: Schema, row: NDArray[np.float64], positions: Sequence[int], points: int) -> Steps[Sensitivity]:
    """Compute the probabilities along features.

    Parameters
    ----------
    schema : Schema
    row : ndarray of float64, shape (features,)
        The customer: a validated row of the raw matrix.
    positions : sequence of int
        The features.
    points : int
        Maximum number of points of a curve, at least 2.

    Returns
    -------
    Steps
        Ask for scores and return the curves in the order of `positions`.
    """
    (probability,) = (yield row[None]).tolist()
    curves = []
    for position in positions:
        feature = schema.features[position]
        own = float(row[position])
        values = list_points(feature, own, points)
        tried = np.append(values, math.nan) if feature.nullable else values
        raw = np.repeat(row[None], len(tried), axis=0)
        raw[:, position] = tried
        probabilities = (yield raw) if len(raw) else np.empty(0)
        place = None if math.isnan(own) else int(np.searchsorted(values, own))
        # Its last digit may be another one in a batch. A missing value is behind the others.
        probabilities[len(values) if place is None else place] = probability
        missing = float(probabilities[-1]) if feature.nullable else None
        curves.append(Curve(position, values, probabilities[: len(values)], place, missing))
    return Sensitivity(probability, tuple(curves))
