"""Metrics of subgroups: categories, flags, and ranges of numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.measures.groups import is_banded, split_feature
from churn.measures.intervals import NOT_KNOWN, Interval, bootstrap, wilson
from churn.measures.ranking import Ranking, roc_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.evaluate import Part

SMALL_CUSTOMERS = 100
SMALL_LEAVERS = 20
"""Groups with fewer are flagged, because their metrics are mostly chance."""

MAX_FEATURES = 12
IMPORTANT_QUANTITIES = 2
AUC_RESAMPLES = 400

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Metrics of one group.

    Attributes
    ----------
    feature, level : str
    customers, leavers : int
    auc : Interval
        NaN if all left or all stayed.
    true_positive_rate, false_positive_rate, selection_rate : Interval
        At the decision threshold, with Wilson intervals.
    predicted : float
        Mean probability.
    observed : Interval
        Share of leavers.
    """

    feature: str
    level: str
    customers: int
    leavers: int
    auc: Interval
    true_positive_rate: Interval
    false_positive_rate: Interval
    selection_rate: Interval
    predicted: float
    observed: Interval

    @property
    def is_small(self) -> bool:
        """Whether the group is too small for reliable metrics."""
        return self.customers < SMALL_CUSTOMERS or self.leavers < SMALL_LEAVERS

    @property
    def is_off(self) -> bool:
        """Whether the mean probability is outside the interval of the share of leavers."""
        return not self.observed.low <= self.predicted <= self.observed.high


def choose_features(schema: Schema, raw: NDArray[np.float64], importance: NDArray[np.float64]) -> list[int]:
    """Return the positions of the features that define groups, in the order of the schema.

    These are categories, flags and integers with few values, numbers named like an age, and the `IMPORTANT_QUANTITIES`
    most important numbers; at most the `MAX_FEATURES` most important features.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    importance : ndarray of float64, shape (features,)
        Permutation importance in nats per customer.
    """
    ranked = [int(position) for position in np.argsort(-importance, kind="stable")]
    quantities = [position for position in ranked if is_banded(schema.features[position], raw[:, position])]
    aged = {position for position in quantities if is_age(schema.features[position].name)}
    chosen = set(range(len(schema.features))) - set(quantities) | aged | set(quantities[:IMPORTANT_QUANTITIES])
    first = sorted(chosen, key=lambda position: (position not in aged, ranked.index(position)))
    return sorted(first[:MAX_FEATURES])


def is_age(name: str) -> bool:
    """Return whether the name of a column contains the word "age" (not "Average" or "Mortgage")."""
    return "age" in [word.lower() for word in _WORDS.findall(name)]


def judge_subgroups(
    schema: Schema, part: Part, threshold: float, importance: NDArray[np.float64], *, seed: int
) -> list[Subgroup]:
    """Compute the metrics of each non-empty group of a part.

    Parameters
    ----------
    schema : Schema
    part : Part
    threshold : float
    importance : ndarray of float64, shape (features,)
        Permutation importance in nats per customer.
    seed : int
        Draws the bootstrap samples of the intervals.
    """
    groups = []
    for position in choose_features(schema, part.raw, importance):
        feature = schema.features[position]
        groups += [
            _judge(feature.name, level, part, members, threshold, seed)
            for level, members in split_feature(feature, part.raw[:, position])
        ]
    return groups


def _judge(feature: str, level: str, part: Part, members: NDArray[np.bool_], threshold: float, seed: int) -> Subgroup:
    labels, probabilities = part.labels[members], part.probabilities[members]
    selected, left = probabilities > threshold, labels == 1
    customers, leavers = len(labels), int(left.sum())
    return Subgroup(
        feature=feature,
        level=level,
        customers=customers,
        leavers=leavers,
        auc=_auc(labels, probabilities, seed) if 0 < leavers < customers else NOT_KNOWN,
        true_positive_rate=wilson(int((selected & left).sum()), leavers),
        false_positive_rate=wilson(int((selected & ~left).sum()), customers - leavers),
        selection_rate=wilson(int(selected.sum()), customers),
        predicted=float(probabilities.mean()),
        observed=wilson(leavers, customers),
    )


def _auc(labels: NDArray[np.float64], probabilities: NDArray[np.float64], seed: int) -> Interval:
    def measure(ranking: Ranking, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([roc_auc(ranking, weights)])

    return bootstrap(labels, probabilities, measure, seed=seed, resamples=AUC_RESAMPLES)[0]


def widest_gap(groups: Sequence[Subgroup]) -> tuple[Subgroup, Subgroup] | None:
    """Return the two groups of one feature with the largest difference in recall, the lower first.

    Small groups are ignored; None if no feature has two other groups.
    """
    best: tuple[Subgroup, Subgroup] | None = None
    for name in dict.fromkeys(group.feature for group in groups):
        sound = [group for group in groups if group.feature == name and not group.is_small]
        if len(sound) < 2:
            continue
        sound.sort(key=lambda group: group.true_positive_rate.value)
        pair = sound[0], sound[-1]
        if best is None or _gap(pair) > _gap(best):
            best = pair
    return best


def _gap(pair: tuple[Subgroup, Subgroup]) -> float:
    return pair[1].true_positive_rate.value - pair[0].true_positive_rate.value
