"""What a worker has put into files, until it is in the database."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from records.spill_writer import SpillWriter


MERGED_CUSTOMERS = 10_000
"""Spilled customers that are remembered together: there may be millions, and most frames have one."""


class _Part(NamedTuple):
    """Customers that were appended together, or spilled."""

    end: int
    customers: int
    size: int
    since: float


class Backlog:
    """Appends frames to files, and knows what of them is not loaded.

    Customers that wait while the store can't be written to are spilled: they may wait for long, and are loaded later.

    Parameters
    ----------
    files : SpillWriter

    Attributes
    ----------
    waiting : int
        Number of customers that are not loaded, without the spilled ones.
    spilled : int
        Number of those.
    size : int
        Size in bytes of what is not loaded.
    position : int
        Number of customers that were dealt with.
    fault : str
        Why files that were loaded can't be removed; empty if they can.
    """

    def __init__(self, files: SpillWriter) -> None:
        self._files = files
        self._parts: deque[_Part] = deque()
        self._spilled_end = 0
        self.position = 0
        self.waiting = self.spilled = self.size = 0
        self.fault = ""

    @property
    def end(self) -> int:
        """Number of customers that were appended."""
        return self._files.end

    @property
    def customers(self) -> int:
        """Number of customers that are not loaded."""
        return self.waiting + self.spilled

    @property
    def age(self) -> float:
        """Age in seconds of the oldest customer that is not loaded; 0 if there is none."""
        return monotonic() - self._parts[0].since if self._parts else 0.0

    def append(self, data: bytes, count: int) -> str:
        """Append a frame; return why that is impossible, or an empty text."""
        if failure := self._files.append(data, count):
            return failure
        self._parts.append(_Part(self._files.end, count, len(data), monotonic()))
        self.waiting += count
        self.size += len(data)
        return ""

    def spill(self) -> int:
        """Call all that waits spilled, and return its number of customers."""
        count, self.waiting = self.waiting, 0
        self.spilled += count
        self._spilled_end = self.end
        if len(self._parts) > 1 and self._parts[-1].customers + self._parts[-2].customers <= MERGED_CUSTOMERS:
            last, before = self._parts.pop(), self._parts.pop()
            customers, size = before.customers + last.customers, before.size + last.size
            self._parts.append(_Part(last.end, customers, size, before.since))
        return count

    def settle(self, end: int) -> tuple[int, int]:
        """Forget what was dealt with: the customers up to `end`.

        Returns
        -------
        waited, spilled : int
            Number of customers.
        """
        waited = spilled = 0
        while self._parts and self._parts[0].end <= end:
            part = self._parts.popleft()
            self.size -= part.size
            if part.end <= self._spilled_end:
                spilled += part.customers
            else:
                waited += part.customers
        self.waiting -= waited
        self.spilled -= spilled
        self.position = max(self.position, end)
        self._release(end)
        return waited, spilled

    def renew(self) -> None:
        """Begin another file with the next frame; this one is removed as soon as it is loaded, or at once."""
        self._files.renew()
        if not self._parts:
            self._release(self.end)

    def skip(self) -> None:
        """Begin another file at once: what is left of this one can't be read, and the writer goes on there."""
        with suppress(OSError):  # the next frame tries it again
            self._files.skip()

    def _release(self, end: int) -> None:
        try:
            self._files.release(end)
            self.fault = ""
        except OSError as error:
            self.fault = str(error)
