"""Flush to the disk what is in files and not in the database in time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from records.spill import list_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Flusher:
    """A thread that flushes a session's files if nothing has loaded all of them for a while.

    The thread that loads may wait for the database meanwhile.

    Parameters
    ----------
    folder : Path
    session : str
    seconds : float
        The while; what is appended is on the disk or in the database after twice as long.
    count_turns : callable
        Returns how often all files have been loaded.
    """

    def __init__(self, folder: Path, session: str, seconds: float, count_turns: Callable[[], int]) -> None:
        self._folder = folder
        self._session = session
        self._seconds = seconds
        self._count_turns = count_turns
        self._flushed: dict[Path, int] = {}
        self._appended = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flusher", daemon=True)
        self._thread.start()

    def expect(self) -> None:
        """Note that something was appended; without that the thread sleeps."""
        self._appended.set()

    def _run(self) -> None:
        while self._appended.wait() and not self._stopped.is_set():
            self._appended.clear()
            turns = self._count_turns()
            if not self._stopped.wait(self._seconds) and self._count_turns() == turns:
                try:
                    self.flush()
                except OSError:  # e.g. a file was removed as it was loaded; a full disk is noticed by the worker
                    self._appended.set()

    def flush(self) -> None:
        """Flush what has been appended since the last time.

        Raises
        ------
        OSError
        """
        sizes: dict[Path, int] = {}
        for file in list_files(self._folder, self._session):
            size = file.path.stat().st_size
            if size > self._flushed.get(file.path, 0):
                _sync(file.path)
            sizes[file.path] = size
        if sizes.keys() - self._flushed.keys():
            _sync(self._folder)  # has their names
        self._flushed = sizes

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._appended.set()
        self._thread.join()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
