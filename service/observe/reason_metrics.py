"""Metrics of requests with reasons."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from prometheus_client import CollectorRegistry, Counter

from service.observe.prometheus_internals import FastHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

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

        self._dropped = Counter(
            "churn_reasons_dropped_customers_total",
            "Customers whose reasons were computed and not sent: the time had passed, or the client had left.",
            **common,
        )

    def drop(self, work: ReasonWork) -> None:
        """Count a request whose reasons were computed as far as they were, and not sent."""
        self._dropped.inc(work.customers)
        self._seconds.observe(work.seconds)
        self._evaluations.inc(work.evaluations)

    def count(self, work: ReasonWork) -> None:
        """Count a request whose reasons were computed."""
        self._seconds.observe(work.seconds)
        self._customers.inc(work.customers)
        self._evaluations.inc(work.evaluations)


class ReasonWork:
    """What the reasons of one request have taken so far.

    Attributes
    ----------
    customers, evaluations : int
        Customers explained, and mixtures of customers that the network scored for them.
    seconds : float
        Time that took, without the pauses between two customers.
    """

    def __init__(self) -> None:
        self.customers = self.evaluations = 0
        self.seconds = 0.0

    def watch(self, found: Iterable[tuple[T, int]]) -> Iterator[T]:
        """Yield what is found for each customer, which comes with its number of evaluations."""
        started = perf_counter()
        for result, evaluations in found:
            self.customers += 1
            self.evaluations += evaluations
            self.seconds += perf_counter() - started
            yield result
            started = perf_counter()
