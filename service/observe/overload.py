"""Counts requests that were refused or left while they waited, in batches, and says in the log that it happens.

Counting each of them at once would cost as much as refusing it, and a log line for each would be more work than that.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from service.errors import RequestProblem, encode_closing
from service.observe.deferred import DeferredCall
from service.observe.responses import STATUS_DISCONNECTED

if TYPE_CHECKING:
    from service.observe.metrics import Metrics

LOG_SECONDS = 10.0
"""Minimum interval of the log lines."""

_log = logging.getLogger(__name__)


class Queue(Protocol):
    """The requests that wait."""

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""

    @property
    def most_waiting(self) -> int:
        """Number of requests that may wait."""

    @property
    def is_overload(self) -> bool:
        """Whether so many requests wait that some may be refused."""

    @property
    def longest_wait(self) -> float:
        """Time in seconds after which a request that waits is refused."""


class OverloadReport:
    """Records what happens to requests that wait, shortly afterwards and before each scrape.

    Parameters
    ----------
    metrics : Metrics
    backlog : Queue
    """

    def __init__(self, metrics: Metrics, backlog: Queue) -> None:
        self._metrics = metrics
        self._backlog = backlog
        self._refused: dict[str, list[float]] = {}
        self._growing: list[tuple[str, list[float]]] = []
        self._left: list[float] = []
        self._deferred_flush = DeferredCall(self.flush)
        self._unlogged_refused = self._unlogged_left = 0
        self._logged_at = float("-inf")
        self._late = RequestProblem.queue_full(backlog.longest_wait)
        self._too_many = RequestProblem.too_many_connections()
        self._late_response, self._too_many_response = map(encode_closing, (self._late, self._too_many))
        metrics.buffers.add(self)

    @property
    def is_overload(self) -> bool:
        """Whether so many requests wait that some may be refused."""
        return self._backlog.is_overload

    @property
    def longest_wait(self) -> float:
        """Time in seconds after which a request that waits is refused."""
        return self._backlog.longest_wait

    def count_refused(self, kind: str, seconds: float) -> None:
        """Count a request that was refused unparsed after waiting for `seconds`; `kind` is that of its problem."""
        self._refused.setdefault(kind, []).append(seconds)
        self._deferred_flush.schedule()

    def count_growing(self, kind: str, seconds: list[float]) -> None:
        """Count the requests that are in a list when it is looked at, shortly afterwards; it is cleared then."""
        self._growing.append((kind, seconds))
        self._deferred_flush.schedule()

    def count_left(self, seconds: float) -> None:
        """Count a request whose client left after `seconds`, before it was parsed."""
        self._left.append(seconds)
        self._deferred_flush.schedule()

    def refuse_connection(self) -> bytes:
        """Count a connection that is one too many, and return the response to it."""
        self.count_refused(self._too_many.kind, 0.0)
        return self._too_many_response

    def refuse_late(self, seconds: float) -> bytes:
        """Count a request that waited for `seconds` on a connection that was not opened; return the response."""
        self.count_refused(self._late.kind, seconds)
        return self._late_response

    def flush(self) -> None:
        """Record what was counted, and what waits."""
        self._metrics.set_waiting(self._backlog.waiting, self._backlog.most_waiting)
        refused, self._refused = self._refused, {}
        for kind, growing in self._growing:
            refused.setdefault(kind, []).extend(growing)
            growing.clear()
        self._growing = []
        left, self._left = self._left, []
        for kind, seconds in refused.items():
            self._metrics.count_unparsed(kind, 503, seconds)
            self._unlogged_refused += len(seconds)
        if left:
            self._metrics.count_unparsed(None, STATUS_DISCONNECTED, left)
            self._unlogged_left += len(left)
        if (refused or left) and monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = monotonic()
            _log.warning(
                "overload: %d requests refused and %d left by their clients since the last such line",
                self._unlogged_refused,
                self._unlogged_left,
            )
            self._unlogged_refused = self._unlogged_left = 0
