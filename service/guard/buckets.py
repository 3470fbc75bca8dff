"""Token buckets that the workers of a machine share, in a file that they map into memory.

A worker takes tokens in small portions, a hundredth of a second's worth, so that most requests touch nothing that is
shared. A portion is taken under a lock of the file, which the kernel releases if its holder dies. Nothing waits for the
lock: a worker that does not get it at once lets the request pass, and pays with its next portion.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLOTS = 4096
PROBES = 16
"""Number of slots that are looked at for a name; the least recently used of them is given up if all are taken."""

ATTEMPTS = 50
"""How often the lock is tried, a few microseconds in all."""

PORTION_SECONDS = 0.01
"""A portion is what the rate allows in this time, at least one token."""

_SLOT = struct.Struct("16s5d8x")
"""Digest of the name, level and time of two buckets, and time of the last use."""

_BUCKET = struct.Struct("2d")
_OFFSETS = (16, 32)
_USED = 48

FILE_BYTES = SLOTS * _SLOT.size


class BucketFile:
    """The levels of all buckets.

    Parameters
    ----------
    path : Path, optional
        File that the workers share; by default the buckets are this process's own.
    clock : callable, optional
        Returns the time in seconds, the same for all processes; `time.monotonic` by default.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._descriptor = -1
        if path is None:
            self._map = mmap.mmap(-1, FILE_BYTES)
            return
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._descriptor).st_size != FILE_BYTES:
            os.ftruncate(self._descriptor, FILE_BYTES)  # zeros: no slot is taken
        self._map = mmap.mmap(self._descriptor, FILE_BYTES)

    def close(self) -> None:
        """Release the file."""
        self._map.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Yield whether the lock of the file was obtained; it is held during the block."""
        got = self._descriptor < 0
        for _ in range(ATTEMPTS):
            if got:
                break
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                got = True
            except OSError:
                continue
        try:
            yield got
        finally:
            if got and self._descriptor >= 0:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def find(self, digest: bytes) -> int:
        """Return the offset of a name's slot, which is taken if it has none; called with the lock."""
        first = int.from_bytes(digest[:4], "big") % SLOTS
        offsets = [(first + step) % SLOTS * _SLOT.size for step in range(PROBES)]
        for offset in offsets:
            owner = self._map[offset : offset + 16]
            if owner == digest:
                return offset
            if not any(owner):
                return self._occupy(offset, digest)
        return self._occupy(min(offsets, key=lambda offset: self._read(offset + _USED)), digest)

    def _occupy(self, offset: int, digest: bytes) -> int:
        never = float("-inf")  # a bucket that was never used is full
        _SLOT.pack_into(self._map, offset, digest, 0.0, never, 0.0, never, self.clock())
        return offset

    def _read(self, offset: int) -> float:
        found: float = struct.unpack_from("d", self._map, offset)[0]
        return found

    def owns(self, offset: int, digest: bytes) -> bool:
        """Return whether a slot is still that of a name."""
        return self._map[offset : offset + 16] == digest

    def load(self, offset: int, which: int) -> tuple[float, float]:
        """Return level and time of a bucket."""
        level, since = _BUCKET.unpack_from(self._map, offset + _OFFSETS[which])
        return level, since

    def store(self, offset: int, which: int, level: float, now: float) -> None:
        """Set level and time of a bucket."""
        _BUCKET.pack_into(self._map, offset + _OFFSETS[which], level, now)
        struct.pack_into("d", self._map, offset + _USED, now)


class Bucket:
    """A worker's view of one bucket.

    Parameters
    ----------
    file : BucketFile
    name : str
        Whose bucket it is.
    which : int
        0 or 1: which of the two buckets of that name.
    rate : float
        Tokens a second; a full bucket has as many, and at least one.
    least : float
        Tokens without which a request may not pass.

    Attributes
    ----------
    least : float
    left : float
        Tokens of the current portion; negative if more were spent.
    """

    def __init__(self, file: BucketFile, name: str, which: int, rate: float, least: float) -> None:
        self._file = file
        self._digest = hashlib.sha256(name.encode()).digest()[:16]
        self._which = which
        self.rate = rate
        self._most = max(1.0, rate)
        self._portion = max(1.0, rate * PORTION_SECONDS)
        self.least = least
        self._offset: int | None = None
        self.left = 0.0

    def ask(self) -> float:
        """Return for how many seconds the caller must wait; 0 if it may go on."""
        return 0.0 if self.left >= self.least else self.renew()

    def renew(self) -> float:
        """Pay what was overspent, and take the next portion; return what `ask` does."""
        file = self._file
        with file.lock() as is_locked:
            if not is_locked:
                return 0.0
            if self._offset is None or not file.owns(self._offset, self._digest):
                self._offset = file.find(self._digest)
            now = file.clock()
            level, since = file.load(self._offset, self._which)
            level = min(self._most, level + (now - since) * self.rate) + self.left
            self.left = max(0.0, min(self._portion, level))
            if self.left < self.least:
                self.left = 0.0
            file.store(self._offset, self._which, level - self.left, now)
        return 0.0 if self.left else max((self.least - level) / self.rate, 1e-3)


class RateLimits(NamedTuple):
    """Rate limits of a caller a second; None: no limit."""

    requests: float | None
    customers: float | None


class Excess(NamedTuple):
    """Why a request may not pass."""

    quota: str
    wait: float


class Meter:
    """Rate limits of one caller in one worker.

    Parameters
    ----------
    file : BucketFile
    name : str
        The caller.
    limits : RateLimits
        At least one of them is a number.

    Attributes
    ----------
    limits : RateLimits
    """

    def __init__(self, file: BucketFile, name: str, limits: RateLimits) -> None:
        self.limits = limits
        self._requests = None if limits.requests is None else Bucket(file, name, 0, limits.requests, 1.0)
        # Their number is known after the request was let in: it passes if there is any token, and overspends.
        self._customers = None if limits.customers is None else Bucket(file, name, 1, limits.customers, 1e-6)

    def begin(self) -> Excess | None:
        """Count a request; return why it may not pass, or None."""
        requests, customers = self._requests, self._customers
        # As `Bucket.ask` does, without its call: this is done for each request.
        if customers is not None and customers.left < customers.least and (wait := customers.renew()):
            return Excess("customers", wait)
        if requests is not None:
            if requests.left < requests.least and (wait := requests.renew()):
                return Excess("requests", wait)
            requests.left -= 1.0
        return None

    def charge(self, customers: int) -> None:
        """Count customers that were scored."""
        if self._customers is not None:
            self._customers.left -= customers

    def find_pause(self) -> float:
        """Return for how many seconds a table must pause, so that its customers stay within the rate."""
        return 0.0 if self._customers is None else self._customers.ask()
