"""Locks between processes: of the writers of SQLite, and of a session's files."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from churn.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """An exclusive lock, held inside a ``with`` block.

    SQLite looks at its own lock again and again, up to 0.1 s apart; who waits here goes on at once. Other programs wait
    in SQLite's way.

    Parameters
    ----------
    path : Path
        File to lock, which is created.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        """Wait for the lock.

        Raises
        ------
        TableError
            If the file can't be created.
        """
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise TableError(f"{self._path}: {error.strerror}") from None
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def __del__(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def try_lock(path: Path) -> int | None:
    """Lock a file, which is created, until the descriptor is closed; None if somebody else has it.

    Raises
    ------
    OSError
        If the file can't be created.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed it meanwhile, so that another process may have one of this name.
        if is_at(path, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is at a path, and not another one, or none."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))  # noqa: PTH116  called for each frame
    except OSError:
        return False
