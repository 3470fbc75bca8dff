"""Metrics of the questions about one customer; requests and their seconds are counted like those of other routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ROUTES = ("/counterfactuals", "/sensitivity")
OUTCOMES = ("found", "none")


class WhatIfMetrics:
    """The metrics.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        common: Any = {"registry": registry}
        self._evaluations = Counter(
            "churn_what_if_evaluations_total",
            "Changed customers that were scored to answer a question about one customer, by route.",
            ("route",),
            **common,
        )
        self._outcomes = Counter(
            "churn_counterfactual_answers_total",
            "Answered requests for counterfactuals, by outcome: found or none.",
            ("outcome",),
            **common,
        )
        for route in ROUTES:
            self._evaluations.labels(route)
        for outcome in OUTCOMES:
            self._outcomes.labels(outcome)

    def count(self, route: str, evaluations: int) -> None:
        """Count the customers scored for a request."""
        self._evaluations.labels(route).inc(evaluations)

    def count_outcome(self, outcome: str) -> None:
        """Count an answered request for counterfactuals."""
        self._outcomes.labels(outcome).inc()
