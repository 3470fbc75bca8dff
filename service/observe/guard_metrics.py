"""Metrics of authentication and rate limits; all labels have a bounded number of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

REASONS = ("missing", "key", "expired", "scope", "throttled", "malformed", "ambiguous")
"""Reasons whose series exist from the start; those of tokens begin with ``token-``."""


class GuardMetrics:
    """Counts what was refused.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "churn_refused_credentials_total",
            "Requests that were refused because of their credentials, by reason.",
            ("reason",),
            registry=registry,
        )
        self._limited = Counter(
            "churn_rate_limited_requests_total",
            'Requests beyond a rate limit, by name of the API key ("token:" for all tokens) and quota.',
            ("caller", "quota"),
            registry=registry,
        )
        self._reloads = Counter(
            "churn_key_reloads_total",
            "How often a worker has read changed keys, by outcome: ok or failed.",
            ("outcome",),
            registry=registry,
        )
        # Created at once: Prometheus does not count the first value of a series as an increase.
        for reason in REASONS:
            self._refused.labels(reason)
        for outcome in ("ok", "failed"):
            self._reloads.labels(outcome)

    def count_refused(self, reason: str) -> None:
        """Count a request that was refused because of its credential."""
        self._refused.labels(reason).inc()

    def count_limited(self, caller: str, quota: str) -> None:
        """Count a request beyond a rate limit."""
        self._limited.labels(caller, quota).inc()

    def count_reload(self, outcome: str) -> None:
        """Count an attempt to read changed keys."""
        self._reloads.labels(outcome).inc()
