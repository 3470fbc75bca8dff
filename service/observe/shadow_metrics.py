"""Metrics of the comparison of a shadow with the served model, and the report made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from service.observe.prometheus_internals import FastHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric

    from churn.feature import Feature
    from churn.schema import Schema

BOUNDS = (-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, -0.001, 0.0, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MAX_VALUES = 20
"""Maximum number of subgroups of a feature, which bounds the number of time series; further values are together."""

OTHERS, MISSING = "(other)", "missing"
DIRECTIONS = ("to_churn", "to_stay")
PAIR = ("champion", "shadow")

Outcome = Literal["compared", "dropped", "rejected"]


class ShadowMetrics:
    """The metrics, with labels for the versions that are compared.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        common: Any = {"registry": registry}
        self.customers = Counter(
            "churn_shadow_customers_total",
            "Customers offered to the shadow, by outcome: compared, dropped or rejected.",
            (*PAIR, "outcome"),
            **common,
        )
        self.differences = FastHistogram(
            "churn_shadow_difference",
            "Probability of the shadow minus that of the served model.",
            PAIR,
            buckets=BOUNDS,
            **common,
        )
        self.flips = Counter(
            "churn_shadow_flips_total",
            "Customers for whom the shadow decides otherwise, by its decision: to_churn or to_stay.",
            (*PAIR, "direction"),
            **common,
        )
        self.group_customers = Counter(
            "churn_shadow_subgroup_customers_total",
            "Compared customers, by value of a category or flag.",
            (*PAIR, "feature", "value"),
            **common,
        )
        self.group_flips = Counter(
            "churn_shadow_subgroup_flips_total",
            "Customers for whom the shadow decides otherwise, by value of a category or flag.",
            (*PAIR, "feature", "value", "direction"),
            **common,
        )


class Comparison:
    """Counts the comparison of two versions.

    Parameters
    ----------
    metrics : ShadowMetrics
    champion, shadow : str
        The versions.
    schema : Schema
        Of the champion.
    """

    def __init__(self, metrics: ShadowMetrics, champion: str, shadow: str, schema: Schema) -> None:
        pair = (champion, shadow)
        outcomes: tuple[Outcome, ...] = ("compared", "dropped", "rejected")
        self._customers = {outcome: metrics.customers.labels(*pair, outcome) for outcome in outcomes}
        self._differences = metrics.differences.labels(*pair)
        self._flips = [metrics.flips.labels(*pair, direction) for direction in DIRECTIONS]
        self._groups = [
            (position, [
                (metrics.group_customers.labels(*pair, feature.name, value),
                 [metrics.group_flips.labels(*pair, feature.name, value, direction) for direction in DIRECTIONS])
                for value in list_values(feature)
            ])
            for position, feature in enumerate(schema.features)
            if feature.kind in ("category", "flag")
        ]  # fmt: skip

    def count(self, outcome: Outcome, customers: int) -> None:
        """Count customers by outcome."""
        self._customers[outcome].inc(customers)

    def compare(
        self, raw: NDArray[np.float64], found: NDArray[np.float64], other: NDArray[np.float64],
        decisions: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    ) -> None:  # fmt: skip
        """Count compared customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            Of the champion.
        found, other : ndarray of float64, shape (n,)
            Probabilities of the champion and of the shadow.
        decisions : tuple of two ndarray of bool, shape (n,)
            Theirs.
        """
        self.count("compared", len(raw))
        self._differences.observe_many(other - found)
        flips = (decisions[1] & ~decisions[0], decisions[0] & ~decisions[1])
        for counter, flipped in zip(self._flips, flips, strict=True):
            counter.inc(int(np.count_nonzero(flipped)))
        for position, groups in self._groups:
            codes = _number_groups(raw[:, position], len(groups))
            for (customers, _), count in zip(groups, np.bincount(codes, minlength=len(groups)).tolist(), strict=True):
                customers.inc(count)
            for direction, flipped in enumerate(flips):
                counts = np.bincount(codes[flipped], minlength=len(groups)).tolist()
                for (_, counters), count in zip(groups, counts, strict=True):
                    if count:
                        counters[direction].inc(count)


def list_values(feature: Feature) -> list[str]:
    """Return the subgroups of a category or flag: its first values, all others together, and missing values."""
    values = ["0", "1"] if feature.kind == "flag" else list(feature.levels)
    others = [OTHERS] if len(values) > MAX_VALUES else []
    return [*values[:MAX_VALUES], *others, *([MISSING] if feature.nullable else [])]


def _number_groups(values: NDArray[np.float64], groups: int) -> NDArray[np.intp]:
    """Return the position of each value's subgroup in `list_values`."""
    gaps = np.isnan(values)  # only of features that have a group for them, the last one
    codes = np.minimum(np.where(gaps, 0, values), MAX_VALUES)
    return np.where(gaps, groups - 1, codes).astype(np.intp)


def summarise(families: Iterable[Metric], champion: str, shadow: str) -> dict[str, Any]:
    """Return the comparison of two versions as plain data, from the metrics of all workers.

    Parameters
    ----------
    families : iterable of Metric
    champion, shadow : str
        The versions.
    """
    outcomes: dict[str, int] = {}
    flips = dict.fromkeys(DIRECTIONS, 0)
    buckets: dict[float, int] = {}
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for name, labels, value in _list_samples(families, champion, shadow):
        if name == "churn_shadow_customers_total":
            outcomes[labels["outcome"]] = value
        elif name == "churn_shadow_difference_bucket":
            buckets[float(labels["le"])] = value
        elif name == "churn_shadow_flips_total":
            flips[labels["direction"]] = value
        elif name.startswith("churn_shadow_subgroup_"):
            group = groups.setdefault(
                (labels["feature"], labels["value"]), dict.fromkeys(("customers", *DIRECTIONS), 0)
            )
            group[labels.get("direction", "customers")] = value
    bounds = sorted(buckets)
    counts = np.diff([buckets[bound] for bound in bounds], prepend=0).tolist()
    edges = [None, *bounds[:-1], None]
    return {
        "champion": champion,
        "shadow": shadow,
        **{outcome: outcomes.get(outcome, 0) for outcome in ("compared", "dropped", "rejected")},
        **flips,
        "differences": [
            {"above": low, "up_to": high, "customers": count}
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ],
        "subgroups": [
            {"feature": feature, "value": value, **group}
            for (feature, value), group in groups.items()
            if group["customers"]
        ],
    }


def _list_samples(
    families: Iterable[Metric], champion: str, shadow: str
) -> Iterable[tuple[str, Mapping[str, str], int]]:
    for family in families:
        if family.name.startswith("churn_shadow_"):
            for sample in family.samples:
                if (sample.labels.get("champion"), sample.labels.get("shadow")) == (champion, shadow):
                    yield sample.name, sample.labels, int(sample.value)
