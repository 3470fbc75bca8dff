"""How many connections each worker has, so that they are spread evenly over the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence

SLACK_SHARE = 16
"""A worker is ahead if it has one in this many connections, and two, more than the worker with the fewest."""

CLOSED = -1
"""Number of connections of a worker that does not accept any."""


class Spread:
    """The numbers of connections of all workers as one of them sees and reports them.

    Parameters
    ----------
    counts : sequence of int
        Numbers of connections, in shared memory; `CLOSED` for workers that do not accept.
    place : int
        Position of this worker.
    """

    def __init__(self, counts: MutableSequence[int], place: int) -> None:
        self._counts = counts
        self._place = place

    def report(self, count: int) -> None:
        """Tell the other workers how many connections this one has; `CLOSED` if it accepts no more."""
        self._counts[self._place] = count

    def is_ahead(self, count: int) -> bool:
        """Report `count`, and return whether a new connection is better left to another worker."""
        self._counts[self._place] = count
        least = min((other for other in self._counts if other != CLOSED), default=count)
        return count > least + 1 + count // SLACK_SHARE
