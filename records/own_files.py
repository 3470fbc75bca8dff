"""The files of a writer's own worker, in mode behind: when they are loaded, flushed and removed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from records.flushing import Flusher
from records.loading import LOAD_CUSTOMERS, FilesError, SessionLoader
from records.messages import Loaded
from records.spill import remove_session

if TYPE_CHECKING:
    from records.messages import Start
    from records.priority import Priority
    from records.store import RecordStore

GATHER_SECONDS = 0.25
"""For how long a transaction waits for more records, or a quarter of the lag: the more records are inserted together,
the fewer pages of an index are written for each."""

LATE_SECONDS = 10.0
"""A writer that has not loaded all files for so long no longer gives way to other processes."""

FAULT_SECONDS = 1.0
"""Interval at which files that can't be read are tried again."""


class OwnFiles:
    """What a worker has appended to its files, until it is in the database.

    Parameters
    ----------
    start : Start
    priority : Priority, optional
        Is lowered while the files are loaded in time.
    """

    def __init__(self, start: Start, priority: Priority | None = None) -> None:
        self._session = start.session
        self._folder = Path(start.spill)
        self._position = start.position
        self._loader: SessionLoader | None = None
        self._appended = 0  # customers in the files
        self._since = 0.0  # when the first of what waits in them came
        self._gather = min(GATHER_SECONDS, start.lag / 4)
        self._turns = 0  # how often all files have been loaded
        self._turned_at = time.monotonic()
        self._fault = ""
        self._priority = priority
        if priority is not None:
            priority.lower()
        # Handing over takes a fifth of the lag at most, and this the rest.
        self._flusher = Flusher(self._folder, self._session, start.lag * 0.4, lambda: self._turns)

    def open(self, store: RecordStore) -> None:
        """Load into a store from now on."""
        if self._loader is None:
            self._loader = SessionLoader(store, self._folder, self._session, position=self._position)

    def expect(self, end: int) -> None:
        """Note that the worker has appended `end` customers in all."""
        if not self.unloaded:
            self._since = time.monotonic()
        self._appended = end
        self._flusher.expect()

    @property
    def unloaded(self) -> int:
        """Number of customers that are not loaded; 0 without a store."""
        return 0 if self._loader is None else self._appended - self._loader.position

    @property
    def seconds_left(self) -> float:
        """For how many seconds more customers may be waited for before those that are unloaded are loaded."""
        gather = 0.0 if self.unloaded >= LOAD_CUSTOMERS else self._gather
        return max(0.0, self._since + gather - time.monotonic())

    def load(self) -> Loaded | None:
        """Load some of them; return what became of them, or None if the files can't be read now.

        Raises
        ------
        TableError
            If the database fails.
        """
        assert self._loader is not None  # noqa: S101  something is not loaded
        try:
            is_progress = self._loader.load()
        except FilesError as error:
            self._report_fault(str(error))
            self._since = time.monotonic() + FAULT_SECONDS
            return None
        self._fault = ""
        if not self.unloaded:
            self._turns += 1
            self._turned_at = time.monotonic()
        self._set_priority()
        # Without progress the file was damaged, or removed, until the worker begins another one.
        self._since = time.monotonic() + (0.0 if is_progress else FAULT_SECONDS)
        return Loaded(self._loader.position, self._loader.take_lost())

    def _report_fault(self, fault: str) -> None:
        """Say why the files can't be read or removed, once."""
        if fault != self._fault:
            self._fault = fault
            print(f"{fault}; it is tried again", file=sys.stderr)  # noqa: T201  to the log

    def _set_priority(self) -> None:
        """Give way to scoring as long as the files are loaded in time."""
        if self._priority is None:
            return
        if time.monotonic() - self._turned_at > LATE_SECONDS:
            self._priority.restore()
        else:
            self._priority.lower()

    def finish(self) -> None:
        """Load what a worker that has ended has left, and remove the files.

        Raises
        ------
        TableError
            If the database fails. The next service loads the rest.
        """
        if self._loader is None:
            return
        self._loader.end_session()
        try:
            while self._loader.load():
                pass
            if missing := self.unloaded:
                print(f"{missing} records of session {self._session} can't be read", file=sys.stderr)  # noqa: T201
            remove_session(self._folder, self._session)
        except (FilesError, OSError) as error:
            self._report_fault(str(error))

    def seal(self) -> None:
        """Seal the records of an hour that is over.

        Raises
        ------
        TableError
            If the database fails.
        """
        if self._loader is not None:
            self._loader.seal()

    def close(self) -> None:
        """Seal what was loaded, and end the thread that flushes.

        Raises
        ------
        TableError
            If the database fails.
        """
        self._flusher.close()
        if self._loader is not None:
            self._loader.close()
