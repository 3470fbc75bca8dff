"""The last judgement in the store of records, read again now and then."""

from __future__ import annotations

import asyncio
import logging
from threading import Lock
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError

if TYPE_CHECKING:
    from service.observe.performance_metrics import PerformanceMetrics

REFRESH_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Performance:
    """Reads the last judgement and shows it as metrics; for several threads.

    Parameters
    ----------
    url : str
        Of the store.
    metrics : PerformanceMetrics
    """

    def __init__(self, url: str, metrics: PerformanceMetrics) -> None:
        self._url = url
        self._metrics = metrics
        self._lock = Lock()
        self._store: Any = None
        self._number = 0
        self._judgement: dict[str, Any] | None = None

    def read(self) -> dict[str, Any] | None:
        """Return the last judgement; None if there is none. Waits for the database.

        Raises
        ------
        TableError
            If the database fails, or has no store yet.
        """
        # Imported by the first thread that needs them, so that the service starts without waiting for them.
        logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells every step of looking at the tables
        from records.judging.judgements import read_judgement
        from records.store import open_store

        with self._lock:
            if self._store is None:
                self._store = open_store(self._url)
            found = read_judgement(self._store, self._number)
            if found is not None:
                self._number, self._judgement = found
                self._metrics.show(self._judgement)
            return self._judgement

    async def run(self) -> None:
        """Read again every `REFRESH_SECONDS`, in a thread; a failure is logged once until it is over."""
        failed = False
        while True:
            try:
                await asyncio.to_thread(self.read)
                failed = False
            except ChurnError as error:
                if not failed:
                    _log.warning("the last judgement can't be read: %s", error)
                failed = True
            await asyncio.sleep(REFRESH_SECONDS)
