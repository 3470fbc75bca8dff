"""Notice a thread that makes no progress, as opposed to one that has much to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Progress:
    """Progress of a thread that works on one piece after the other.

    Attributes
    ----------
    stalled_seconds : float
        For how long the thread has been working on the same piece, as counted by `watch`.
    """

    def __init__(self) -> None:
        self._begun = self._ended = 0  # only the thread assigns them
        self._seen = 0
        self.stalled_seconds = 0.0

    @property
    def is_working(self) -> bool:
        """Whether a piece has been begun and not ended."""
        return self._begun != self._ended

    def run(self, work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call `work` in the thread, as one piece."""
        self._begun += 1
        try:
            return work(*arguments, **options)
        finally:
            self._ended += 1

    def watch(self, elapsed: float) -> None:
        """Count the time without progress; called periodically, with the time in seconds since the previous call."""
        begun = self._begun
        is_same = begun == self._seen and self.is_working
        self.stalled_seconds = self.stalled_seconds + elapsed if is_same else 0.0
        self._seen = begun
