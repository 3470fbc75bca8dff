"""Metrics of the records; all labels have a bounded number of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

STATES = ("committed", "spilled", "lost", "refused")


class RecordMetrics:
    """Counts what became of records.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "churn_records_total",
            "Records of scored customers, by what became of them: committed, spilled (left in a file while the store "
            "can't be written to), lost, or refused (the answer was 503).",
            ("state",),
            registry=registry,
        )
        self._loaded = Counter(
            "churn_records_loaded_total",
            "Spilled records that were loaded, and those that another service had left in files.",
            registry=registry,
        )
        self._waiting = Gauge(
            "churn_records_waiting",
            "Records that are neither committed nor spilled yet.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._age = Gauge(
            "churn_records_oldest_seconds",
            "Age of the oldest of them.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        self._spilled_bytes = Gauge(
            "churn_records_spilled_bytes",
            "Size of the files with records that are yet to be loaded.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._down = Gauge(
            "churn_records_down",
            "1 while the store can't be written to, in any worker.",
            multiprocess_mode="livemax",
            registry=registry,
        )
        for state in STATES:  # Prometheus does not count the first value of a series as an increase
            self._records.labels(state)

    def count(self, state: str, customers: int) -> None:
        """Count records, by what became of them."""
        self._records.labels(state).inc(customers)

    def count_loaded(self, customers: int) -> None:
        """Count records that were loaded from files."""
        self._loaded.inc(customers)

    def set_waiting(self, customers: int, seconds: float) -> None:
        """Report how many records wait, and the age of the oldest."""
        self._waiting.set(customers)
        self._age.set(seconds)

    def set_condition(self, spilled_bytes: int, *, is_down: bool) -> None:
        """Report the state of the store, and what waits in files."""
        self._spilled_bytes.set(spilled_bytes)
        self._down.set(is_down)
