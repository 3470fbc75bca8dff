"""Move what was committed from SQLite's log into its file, beside the commits instead of in them."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import TableError

if TYPE_CHECKING:
    from records.store import RecordStore

INTERVAL_SECONDS = 0.5

LEAST_BYTES = 4 * 2**20
"""A smaller log is left alone."""


class Checkpoints:
    """A thread that keeps the log of a SQLite store small.

    Parameters
    ----------
    store : RecordStore
        The thread's own.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._log = Path(f"{store.database.engine.url.database}-wal")
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            with suppress(TableError, OSError):  # e.g. the disk is full, which whoever writes notices
                if self._log.stat().st_size >= LEAST_BYTES:
                    self.move()

    def move(self) -> None:
        """Move the log's content.

        First beside the writers; then the little that they have added meanwhile with their lock, after which the next
        of them starts the log anew.
        """
        with self._store.database.explaining(), self._store.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            with self._store.locked():
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        self._thread.join()
