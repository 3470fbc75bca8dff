"""The worker's side of a session's files."""

from __future__ import annotations

import errno
import os
import zlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from records.locks import is_at, try_lock
from records.spill import FRAME_HEAD, LOCK, SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES = 8 * 2**20
"""Size of a file after which another one is begun."""


class _Written(NamedTuple):
    """A file to which nothing more is appended, its size, and the number of customers up to its end."""

    path: Path
    size: int
    end: int


class SpillWriter:
    """Appends frames, and removes files that were loaded.

    Parameters
    ----------
    folder : Path
    session : str
        See `name_session`.
    limit : int
        Maximum size in bytes of all files.

    Attributes
    ----------
    end : int
        Number of customers that were appended.
    """

    def __init__(self, folder: Path, session: str, limit: int) -> None:
        self._folder = folder
        self._session = session
        self._limit = limit
        self._lock: int | None = None
        self._fault = "the folder is not locked"
        self._path: Path | None = None  # of the file to which is appended
        self._descriptor = -1
        self._size = 0
        self._written: deque[_Written] = deque()
        self.end = 0

    def lock(self) -> int | None:
        """Create the folder and lock the session; return the descriptor of the lock, or None if that fails.

        To be called before a writer is started, which must inherit the lock. If the lock was removed meanwhile, or the
        folder, it is created anew, so that nobody else takes the session for one that has ended.
        """
        path = self._folder / f"{self._session}{LOCK}"
        if self._lock is None or not is_at(path, self._lock):
            try:
                self._folder.mkdir(0o700, parents=True, exist_ok=True)
                lock = try_lock(path)
            except OSError as error:
                self._fault = str(error.strerror)
                return self._lock
            if lock is not None:
                self._close_lock()
                self._lock = lock
        return self._lock

    def _close_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def size(self) -> int:
        """Size in bytes of all files."""
        return self._size + sum(file.size for file in self._written)

    def append(self, data: bytes, customers: int) -> str:
        """Append an encoded frame; return why that is impossible, or an empty text.

        It is not flushed to the disk: the writer does that with what it can't commit in time.
        """
        record = FRAME_HEAD.pack(len(data), zlib.crc32(data)) + data
        if self._lock is None:
            return f"{self._folder}: {self._fault}"
        if self.size + len(record) > self._limit:
            return f"{self._limit} bytes are waiting in files already (CHURN_RECORDS_SPILL_BYTES)"
        try:
            if self._path is not None and (
                self._size >= min(FILE_BYTES, self._limit // 4) or not is_at(self._path, self._descriptor)
            ):
                self.renew()  # it is large, or was removed
            self._begin()
            self._write(record)
        except OSError as error:
            return f"{self._folder}: {error.strerror}"
        self._size += len(record)
        self.end += customers
        return ""

    def skip(self) -> None:
        """Create the next file, so that the reader goes on there: nothing more is appended to the one before.

        Raises
        ------
        OSError
        """
        self.renew()
        self._begin()

    def _begin(self) -> None:
        if self._path is not None and not is_at(self._path, self._descriptor):
            self._close_file()  # it was empty, and removed
        if self._path is None:
            lock = self.lock()
            if lock is None or not is_at(self._folder / f"{self._session}{LOCK}", lock):
                raise OSError(errno.EBUSY, "the lock was removed, and another process loads the session")
            path = self._folder / f"{self._session}-{self.end:015}{SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
            self._path = path

    def _write(self, record: bytes) -> None:
        """Append all or nothing."""
        rest = memoryview(record)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]  # if not all, the next time says why
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise

    def renew(self) -> None:
        """Begin another file with the next frame, so that this one can be removed; an empty one is gone on with."""
        if self._path is not None and self._size:
            self._written.append(_Written(self._path, self._size, self.end))
            self._close_file()

    def _close_file(self) -> None:
        if self._path is not None:
            os.close(self._descriptor)
            self._path, self._size = None, 0

    def release(self, end: int) -> None:
        """Remove the files with none but the first `end` customers, which were dealt with.

        Raises
        ------
        OSError
            If one can't be removed. It counts as waiting, and the next call tries again.
        """
        while self._written and self._written[0].end <= end:
            self._written[0].path.unlink(missing_ok=True)
            self._written.popleft()

    def close(self) -> None:
        """Close the file, and the lock, which the writer may still have."""
        self._close_file()
        self._close_lock()
