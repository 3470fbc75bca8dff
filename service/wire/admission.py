"""Decide how many requests may wait to be scored, from the time that scoring takes.

The bound is a time, not a length: a request that is admitted is scored within the longest wait. By Little's law (1961,
*A Proof for the Queuing Formula L = λW*), the number of requests that may wait is the longest wait divided by the time
per request, which is measured. That a queue is judged by the time spent in it is the idea of CoDel (RFC 8289).
docs/decisions/overload.md has the reasons and the measurements.
"""

from __future__ import annotations

FIRST_SERVICE_SECONDS = 1e-4
"""Assumed time per request before the first measurement."""

MEMORY_SECONDS = 1.0
"""Time over which the time per request is averaged; older measurements count less and less."""

LEAST_WAITING = 32
"""Number of requests that may always wait, for however long: a pause of the process is no overload."""

EXCESS_SHARE = 0.05
"""Time for refusing requests that would wait too long, as a share of the time for scoring. More would displace scoring:
a waiting request costs nothing, and a refused one comes back."""

STALE_SHARE = 0.4
"""The same for requests that have waited too long. If they were not refused, their clients would leave, and connecting
again costs more than a refusal."""


class Admission:
    """Bound on the number of waiting requests.

    Parameters
    ----------
    longest_wait : float
        Maximum time in seconds for which a request waits before it is scored; positive.

    Attributes
    ----------
    longest_wait : float
    """

    def __init__(self, longest_wait: float) -> None:
        self.longest_wait = longest_wait
        # Decayed sums: their ratio weights each request equally, however many were scored at once.
        self._seconds = FIRST_SERVICE_SECONDS
        self._requests = 1.0

    @property
    def service_seconds(self) -> float:
        """Average time in seconds from one scored request to the next while requests wait."""
        return self._seconds / self._requests

    @property
    def most_waiting(self) -> int:
        """Number of requests that are scored within the longest wait."""
        return max(LEAST_WAITING, int(self.longest_wait / self.service_seconds))

    def measure(self, seconds: float, requests: int) -> None:
        """Record that `requests` were scored in `seconds`, while at least one was always waiting.

        The time counts as a whole: refusals, other requests and pauses of the process leave less of it for scoring.
        """
        seconds = min(seconds, self.longest_wait)  # after a suspended process; the age of each request is judged anyway
        keep = MEMORY_SECONDS / (MEMORY_SECONDS + seconds)
        self._seconds = self._seconds * keep + seconds
        self._requests = self._requests * keep + requests

    def count_excess(self, waiting: int) -> int:
        """Return how many of the waiting requests would wait too long."""
        return max(0, waiting - self.most_waiting)
