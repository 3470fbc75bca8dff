"""Mode behind: answers do not wait; records go into files, which the writer loads."""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from records.messages import Appended, Loaded, encode
from records.spill_writer import SpillWriter
from service.keeping.backlog import Backlog
from service.keeping.dispatch import START_SECONDS, Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from records.messages import Report
    from service.observe.record_metrics import RecordMetrics
    from service.settings import Settings

HANG_SECONDS = 60.0
"""Longest time without a sign of the writer while something waits; then it is replaced. On a busy machine it needs
seconds for a transaction, and what waits is safe in files."""

_log = logging.getLogger(__name__)


class FilingDispatcher(Dispatcher):
    """Appends frames to files; sends those that fit into none. All methods are to be called in the event loop.

    Parameters
    ----------
    settings, metrics, on_settled
        See `Dispatcher`.
    """

    is_durable = False
    unkept = "lost"
    consequence = "records are kept in files until it can"

    def __init__(self, settings: Settings, metrics: RecordMetrics, on_settled: Callable[[], None]) -> None:
        super().__init__(settings, metrics, on_settled)
        self._files = SpillWriter(Path(self._start.spill), self._start.session, settings.records_spill_bytes)
        self._backlog = Backlog(self._files)
        self._heard: float | None = None  # when the writer has said something
        self._inherited: int | None = None  # the lock that the writer has
        self._fault = ""  # of the files

    async def close(self) -> None:
        """Wait until all is loaded, and end the writer, which loads the rest of the files if it can."""
        await super().close()
        self._files.close()

    async def _open(self) -> None:
        self._heard = None
        self._start.position = self._backlog.position
        await super()._open()
        if self._backlog.end:
            self._send(encode(Appended(self._backlog.end)))

    def _list_locks(self) -> list[int]:
        self._inherited = self._files.lock()
        return [] if self._inherited is None else [self._inherited]

    def _append(self, data: bytes, count: int) -> str:
        if failure := self._backlog.append(data, count):
            return failure
        if self._problem:
            self._tell("spilled", self._backlog.spill(), self._problem)
        self._send(encode(Appended(self._backlog.end)))
        return ""

    def _hear(self, message: Report) -> None:
        self._heard = monotonic()
        if isinstance(message, Loaded):
            self._settle_files(message)
        else:
            super()._hear(message)

    def _settle_files(self, message: Loaded) -> None:
        """Count what was loaded from the files of this worker."""
        waited, spilled = self._backlog.settle(message.end)
        if not waited + spilled and self._backlog.customers:
            self._backlog.skip()
        lost = min(message.lost, waited + spilled)
        if lost:
            self._tell("lost", lost, "they can't be read")
        self._metrics.count_loaded(max(0, spilled - lost))
        self._metrics.count("committed", waited - max(0, lost - spilled))
        self._report_condition()

    def _report_condition(self) -> None:
        self._metrics.set_condition(self._backlog.size + self._adopted_size, is_down=bool(self._problem))

    def _note_problem(self, problem: str) -> None:
        is_new = problem != self._problem
        super()._note_problem(problem)
        if problem and is_new:
            self._tell("spilled", self._backlog.spill(), problem)
            self._report_condition()

    def _look(self) -> None:
        if self._is_hanging() and self._link is not None:
            _log.error("the writer of records has not answered for %g s; it is replaced", HANG_SECONDS)
            self._link.kill()
        if self._is_hanging() or not self._backlog.customers:
            # What is loaded should not stay in a file, and a file that can't be read must not grow.
            self._backlog.renew()
            self._look_after_files()

    def _look_after_files(self) -> None:
        """Lock the session anew if its lock was removed, for the writer, too; say which files can't be removed."""
        if self._backlog.fault != self._fault:
            self._fault = self._backlog.fault
            _log.error("files of records that were loaded can't be removed: %s", self._fault or "(they can now)")
        if self._is_linked and self._link is not None and self._files.lock() != self._inherited and not self._sent:
            _log.error("the lock of the files of records was removed; the writer is replaced by one with another lock")
            self._inherited = self._files.lock()
            self._link.kill()

    @property
    def _is_waiting(self) -> bool:
        return bool(self._sent or self._backlog.customers)

    def _is_hanging(self) -> bool:
        """Whether the writer does not deal with what waits, and does not say that the store is down."""
        if not self._is_linked or self._problem or not self._is_waiting:
            return False
        since = self._opened + START_SECONDS if self._heard is None else self._heard
        return min(monotonic() - since, self._find_age()) > HANG_SECONDS

    def _find_age(self) -> float:
        return max(super()._find_age(), self._backlog.age)

    def report(self, collected: int) -> None:
        """Report what waits, besides what was `collected` and not handed over."""
        super().report(collected + self._backlog.waiting)
