"""Metrics of rejected requests, of workers and of the management port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from service.errors import Problem

LIMITS = (
    "head_seconds", "body_seconds", "queue_seconds", "request_timeout", "max_connections", "max_head_bytes",
    "max_url_bytes", "max_field_bytes", "max_head_fields", "max_pipelined", "max_body_bytes", "max_admin_bytes",
    "max_pending_bytes", "max_held_bytes", "max_customers", "max_json_bytes", "max_json_values", "max_json_depth",
    "max_record_bytes", "max_columns", "max_cell_bytes", "max_reasoned",
)  # fmt: skip
"""Settings that limit requests: values of the label ``limit``."""

REASONS = ("not-ready", "not-recorded", "overloaded", "deadline-exceeded")
"""Reasons whose series exist from the start."""

UNPARSED = {"overloaded": "queue_seconds", "too-many-connections": "max_connections"}
"""The limit for each reason to refuse a request unparsed."""


class Rejections:
    """Counts rejected requests.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rejected = Counter(
            "churn_rejected_requests_total",
            "Requests that were rejected, by problem type; also on the management port.",
            ("reason",),
            registry=registry,
        )
        self._limited = Counter(
            "churn_limited_requests_total",
            "Requests that were rejected because they exceed a limit, by its setting; also on the management port.",
            ("limit",),
            registry=registry,
        )
        # Created at once: Prometheus does not count the first value of a series as an increase.
        for reason in REASONS:
            self._rejected.labels(reason)
        for limit in LIMITS:
            self._limited.labels(limit)

    def count(self, problem: Problem) -> None:
        """Count a rejected request, by the kind of its problem and the limit that it exceeds."""
        self._rejected.labels(problem.kind).inc()
        if problem.limit:
            self._limited.labels(problem.limit).inc()

    def count_unparsed(self, reason: str, requests: int = 1) -> None:
        """Count requests that were refused before they were parsed, for a reason of `UNPARSED`."""
        self._rejected.labels(reason).inc(requests)
        self._limited.labels(UNPARSED[reason]).inc(requests)
