"""Metrics of requests with reasons."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter

from service.observe.prometheus_internals import FastHistogram

SECONDS = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ReasonMetrics:
    """The metrics.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        common: Any = {"registry": registry}
        self._seconds = FastHistogram(
            "churn_reasons_duration_seconds",
            "Seconds for which the thread computed the reasons of a request.",
            buckets=SECONDS,
            **common,
        )
        self._customers = Counter("churn_reasoned_customers_total", "Customers with reasons.", **common)
        self._evaluations = Counter(
            "churn_reasons_evaluations_total", "Mixtures of customers that the network scored for reasons.", **common
        )

    def count(self, seconds: float, customers: int, evaluations: int) -> None:
        """Count a request whose reasons were computed."""
        self._seconds.observe(seconds)
        self._customers.inc(customers)
        self._evaluations.inc(evaluations)
