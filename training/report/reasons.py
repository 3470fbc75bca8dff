"""Reasons of the evaluated customers: which columns matter, and three typical customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.reasons.strongest import ReasonWriter
from training.support import FEW_VALUES, SPIKE_SHARE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.reasons.explainer import Explainer
    from churn.reasons.strongest import Reason
    from churn.schema import Schema
    from training.evaluate import Part

MAX_CUSTOMERS, MIN_CUSTOMERS = 500, 100
"""Customers who are explained, unless the part has fewer."""
MAX_EVALUATIONS, MAX_ESTIMATES = 3_000_000, 1_000_000
"""Evaluations of the network for exact and for estimated values of them, about: where exact ones would take more, few
customers are explained by estimates. Networks that hear many columns are large, and theirs take longer."""
LISTED = 6
"""Reasons of a typical customer, at most."""
GROUPS = (
    ("the half who are least likely to leave", 0.0, 0.5),
    ("those between this half and the likeliest tenth", 0.5, 0.9),
    ("the tenth who are likeliest to leave", 0.9, 1.0),
)
"""Groups that typical customers are made from: name, and quantiles of the probability between which they are."""
SHOWN_DIGITS = 2
"""Digits of a median."""
MAJORITY = 0.5
"""A number that so many of a group share is typical; otherwise the median of the other numbers is."""


@dataclass(frozen=True, slots=True)
class Typical:
    """A made-up customer of typical values, and its reasons.

    Attributes
    ----------
    group : str
        Words for the group whose values it has.
    customers : int
        Customers of the group.
    probability : float
    reasons : list of Reason
        The strongest first.
    support : str
        How far the probability can be trusted, in words; empty if that is not known.
    """

    group: str
    customers: int
    probability: float
    reasons: list[Reason]
    support: str


@dataclass(frozen=True, slots=True)
class Reasoned:
    """Shapley values of evaluated customers.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
        The customers, a random sample of the evaluated part.
    points : ndarray of float64, shape (n, features)
    base : float
    is_exact : bool
    means : ndarray of float64, shape (features,)
        Mean absolute value of each column.
    typical : list of Typical
        One of each of `GROUPS`.
    """

    raw: NDArray[np.float64]
    points: NDArray[np.float64]
    base: float
    is_exact: bool
    means: NDArray[np.float64]
    typical: list[Typical]

    @property
    def order(self) -> list[int]:
        """Columns that have an effect, the strongest first."""
        return [column for column in np.argsort(-self.means, kind="stable").tolist() if self.means[column] > 0]


def explain_part(explainer: Explainer, schema: Schema, part: Part, *, seed: int) -> Reasoned:
    """Explain a sample of the customers of a part, and three typical customers.

    Parameters
    ----------
    explainer : Explainer
    schema : Schema
    part : Part
    seed : int
        Draws the sample.
    """
    cost = max(1, explainer.explain(part.raw[:1]).evaluations)
    if explainer.exact and cost * MIN_CUSTOMERS <= MAX_EVALUATIONS:
        chosen, size = explainer, min(MAX_CUSTOMERS, MAX_EVALUATIONS // cost)
    else:
        chosen, size = explainer.limit(MAX_ESTIMATES // MIN_CUSTOMERS), MIN_CUSTOMERS
    raw = part.raw[np.sort(np.random.default_rng(seed).permutation(len(part.raw))[:size])]
    points = chosen.explain(raw).points
    return Reasoned(
        raw,
        points,
        chosen.base,
        chosen.exact,
        np.abs(points).mean(axis=0),
        _find_typical(explainer, schema, part),
    )


def _find_typical(explainer: Explainer, schema: Schema, part: Part) -> list[Typical]:
    order = np.argsort(part.probabilities, kind="stable")
    groups = [
        (name, order[int(first * len(order)) : max(int(last * len(order)), int(first * len(order)) + 1)])
        for name, first, last in GROUPS
    ]
    made = np.array([make_typical(schema, part.raw[rows]) for _, rows in groups])
    probabilities = explainer.explain(made).probabilities.round(6)
    reasons, _ = ReasonWriter(explainer, schema, LISTED).write(made, probabilities)
    return [
        Typical(name, len(rows), probability, found.listed, found.support_sentence)
        for (name, rows), probability, found in zip(groups, probabilities.tolist(), reasons, strict=True)
    ]


def make_typical(schema: Schema, raw: NDArray[np.float64]) -> list[float]:
    """Return a row of typical values, column by column, so that it is nobody's.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
    """
    return [_find_typical_value(feature, column) for feature, column in zip(schema.features, raw.T, strict=True)]


def _find_typical_value(feature: Feature, column: NDArray[np.float64]) -> float:
    known = column[~np.isnan(column)]
    if 2 * len(known) <= len(column):
        return float("nan")
    values, counts = np.unique(known, return_counts=True)
    most = int(counts.argmax())
    if not feature.is_quantity or counts[most] >= MAJORITY * len(known):
        return float(values[most])
    # A value that many share stands apart from the others, such as a balance of 0: their median is not between them.
    apart = len(values) > FEW_VALUES and counts[most] >= SPIKE_SHARE * len(known)
    rest = np.sort(known[known != values[most]] if apart else known)
    median = float(rest[(len(rest) - 1) // 2])
    if feature.kind == "date":
        return median
    # Rounded, so that it is nobody's balance to the cent.
    rounded = float(f"{median:.{SHOWN_DIGITS}g}")
    low, high = float(rest[0]), float(rest[-1])
    return rounded if low <= rounded <= high else median
