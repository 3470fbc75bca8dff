"""Metrics of the last judgement: performance by version and group, what was expected, and what training had."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import Gauge

from service.observe.model_counts import RETIRED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import CollectorRegistry

MEASURES = (
    "share_left", "roc_auc", "log_loss", "precision", "recall", "lift", "calibration_slope", "calibration_intercept",
    "calibration_error",
)  # fmt: skip
BOUNDS = ("value", "low", "high")

ALL = "all"
"""Label of all versions together."""

MAX_GROUPS = 100
"""Maximum number of groups, which bounds the number of time series; further ones are in the report only."""


class PerformanceMetrics:
    """The metrics.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        common: Any = {"registry": registry, "multiprocess_mode": "livemostrecent"}
        by_version = ("version", "measure", "bound")
        self._performance = Gauge(
            "churn_performance", "Performance in the newest judged month, by version and measure.", by_version, **common
        )
        self._expected = Gauge(
            "churn_performance_expected", "What was to be expected of the same customers.", by_version, **common
        )
        self._forecast = Gauge(
            "churn_performance_forecast",
            "What is to be expected of the newest month with records, before outcomes arrive.",
            ("measure", "bound"),
            **common,
        )
        self._training = Gauge(
            "churn_performance_training", "Metrics of customers held out in training.", by_version, **common
        )
        self._groups = Gauge(
            "churn_performance_group",
            "Performance in the newest judged month, by category or flag.",
            ("feature", "level", "measure", "bound"),
            **common,
        )
        self._customers = Gauge(
            "churn_performance_customers", "Judged customers of the newest judged month.", ("version",), **common
        )
        self._judged = Gauge(
            "churn_performance_judged_timestamp_seconds",
            "When decisions were judged last, in seconds since 1970; 0 if never.",
            **common,
        )
        self._month = Gauge(
            "churn_performance_month_timestamp_seconds",
            "Beginning of the newest judged month, in seconds since 1970; 0 if none.",
            **common,
        )
        self._shown: set[tuple[Gauge, tuple[str, ...]]] = set()

    def show(self, judgement: Mapping[str, Any]) -> None:
        """Show a judgement instead of the one before."""
        found = dict(self._list(judgement))
        for gauge, labels in self._shown - found.keys():
            gauge.labels(*labels).set(RETIRED)
        for (gauge, labels), value in found.items():
            gauge.labels(*labels).set(value)
        self._shown = set(found)
        self._judged.set(_as_seconds(judgement["time"]))
        judged = _find_newest(judgement)
        self._month.set(0 if judged is None else _as_seconds(f"{judged['month']}-01T00:00:00+00:00"))

    def _list(self, judgement: Mapping[str, Any]) -> Iterator[tuple[tuple[Gauge, tuple[str, ...]], float]]:
        """Yield each series with its value."""
        for version, trained in judgement["training"].items():
            yield from _list_bounds(self._training, (version,), trained)
        if judgement["months"]:
            yield from _list_bounds(self._forecast, (), judgement["months"][-1]["expected_of_all"])
        if (month := _find_newest(judgement)) is None:
            return
        for version, found in {ALL: month, **month["versions"]}.items():
            yield from _list_bounds(self._performance, (version,), found["measures"])
            yield from _list_bounds(self._expected, (version,), found["expected"])
            yield (self._customers, (version,)), float(found["measures"]["customers"])
        for group in month["groups"][:MAX_GROUPS]:
            yield from _list_bounds(self._groups, (group["feature"], group["level"]), group["measures"])


def _list_bounds(
    gauge: Gauge, labels: tuple[str, ...], measures: Mapping[str, Any]
) -> Iterator[tuple[tuple[Gauge, tuple[str, ...]], float]]:
    for name in MEASURES:
        for bound in BOUNDS:
            value = (measures.get(name) or {}).get(bound)
            if value is not None:
                yield (gauge, (*labels, name, bound)), value


def _find_newest(judgement: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the newest month with judged customers."""
    return next((month for month in reversed(judgement["months"]) if month["judged"]), None)


def _as_seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
