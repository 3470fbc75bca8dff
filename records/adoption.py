"""Load what sessions have left in files whose worker and writer have ended."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from records.loading import FilesError, SessionLoader
from records.messages import Adopted
from records.spill import list_files, list_sessions, lock_session, remove_session

if TYPE_CHECKING:
    from pathlib import Path

    from records.store import RecordStore

LEFT_SECONDS = 60.0
"""Interval at which a session is tried again whose files can't be read or removed."""


class Adoption:
    """Loads the files of sessions whose worker and writer have ended.

    Parameters
    ----------
    store : RecordStore
    folder : Path
    own : str
        The session that is not looked at.
    limit : int, optional
        Customers that are loaded in one transaction, by default `LOAD_CUSTOMERS`.
    """

    def __init__(self, store: RecordStore, folder: Path, own: str, limit: int | None = None) -> None:
        self._limit = limit
        self._store = store
        self._folder = folder
        self._own = own
        self._loader: SessionLoader | None = None
        self._session = ""
        self._lock = -1
        self._later: dict[str, float] = {}  # sessions that can't be dealt with, and when they are tried again

    def load(self) -> Adopted | None:
        """Load some customers; return what became of them, or None if nobody has left any.

        Raises
        ------
        TableError
            If the database fails.
        """
        loader = self._loader or self._find()
        if loader is None:
            return None
        try:
            if not loader.load():
                loader.close()
                remove_session(self._folder, self._session)
                self.close()
            return Adopted(loader.take_loaded(), self._measure(), loader.take_lost())
        except (FilesError, OSError) as error:
            if self._session not in self._later:
                print(f"records of session {self._session} can't be loaded and removed: {error}", file=sys.stderr)  # noqa: T201
            self._later[self._session] = time.monotonic() + LEFT_SECONDS
            self.close()
            return Adopted(loader.take_loaded(), 0, loader.take_lost())

    def _find(self) -> SessionLoader | None:
        """Take a session that nobody has."""
        with suppress(OSError):  # the folder can't be read now
            sessions = list_sessions(self._folder)
            self._later = {session: at for session, at in self._later.items() if session in sessions}
            for session in sessions:
                if session == self._own or time.monotonic() < self._later.get(session, 0.0):
                    continue
                if (lock := self._try(session)) is not None:
                    self._session, self._lock = session, lock
                    self._loader = SessionLoader(self._store, self._folder, session, is_over=True, limit=self._limit)
                    return self._loader
        return None

    def _try(self, session: str) -> int | None:
        with suppress(OSError):  # it is not ours
            return lock_session(self._folder, session)
        return None

    def _measure(self) -> int:
        """Return the size in bytes of the files of the session that is being loaded."""
        files = list_files(self._folder, self._session) if self._loader is not None else []
        return sum(file.path.stat().st_size for file in files)

    def close(self) -> None:
        """Leave what is not loaded yet to others."""
        if self._loader is not None:
            self._loader.drop()
        if self._lock >= 0:
            os.close(self._lock)
        self._loader, self._lock = None, -1
