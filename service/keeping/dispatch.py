"""Frames of a worker's records: put into files or sent to its writer, until they are dealt with."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from records.messages import HEAD, Adopted, Appended, Condition, Frame, Loaded, Start, encode
from records.spill import name_session
from records.spill_writer import SpillWriter
from service.errors import RequestProblem
from service.keeping.backlog import Backlog
from service.keeping.link import RESTART_SECONDS, WriterLink
from service.keeping.options import choose_spill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from records.messages import Entry, Origin, Report
    from service.observe.record_metrics import RecordMetrics
    from service.settings import Settings

    Keep = Callable[[str], None]
    """Called when records are kept, with an empty text; or with why they are not."""

MAX_HELD_BYTES = 64 * 2**20
"""Maximum size of frames that were not acknowledged; then the writer hangs, and is sent no more."""

ANSWER_SECONDS = 5.0
"""Longest time that an answer waits for its records in mode durable; then it is a 503."""

HANG_SECONDS = 60.0
"""Longest time without a sign of the writer in mode behind, while something waits; then it is replaced. On a busy
machine it needs seconds for a transaction, and what waits is safe in files."""

START_SECONDS = 15.0
"""Longest time that the start of the service waits for its store."""

LOG_SECONDS = 10.0
"""Minimum interval of log lines about records that are not kept."""

NO_WRITER = "the writer of records has ended"

_log = logging.getLogger(__name__)


class _Sent:
    """A frame that was not acknowledged."""

    __slots__ = ("count", "data", "number", "since", "waiting")

    def __init__(self, number: int, count: int, data: bytes, since: float, waiting: list[Keep]) -> None:
        self.number, self.count, self.data, self.since, self.waiting = number, count, data, since, waiting


class Dispatcher:
    """Hands frames to the writer of a worker. All methods are to be called in the event loop.

    Parameters
    ----------
    settings : Settings
        With `records`.
    metrics : RecordMetrics
    on_settled : callable
        Called when frames were dealt with.
    on_stuck : callable
        Called with the reason if the store does not answer in time, in mode durable.

    Attributes
    ----------
    is_durable : bool
        Whether answers wait for their records.
    room : asyncio.Event
        Set while more can be handed over.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: RecordMetrics,
        on_settled: Callable[[], None],
        on_stuck: Callable[[str], None],
    ) -> None:
        assert settings.records is not None  # noqa: S101  the caller has looked
        self.is_durable = settings.records_mode == "durable"
        self._metrics = metrics
        self._on_settled = on_settled
        self._on_stuck = on_stuck
        spill = choose_spill(settings)
        session = name_session()
        self._start = Start(settings.records, self.is_durable, spill, session, settings.records_lag)
        self._files = None if self.is_durable else SpillWriter(Path(spill), session, settings.records_spill_bytes)
        self._backlog = Backlog(self._files) if self._files is not None else None
        self._link: WriterLink | None = None
        self._problem = "the store has not been opened yet"
        self._ready = asyncio.Event()
        self._sent: deque[_Sent] = deque()
        self._number = self._held = self._adopted_size = 0
        self._is_closed = self._is_late = self._is_linked = False
        self._heard: float | None = None  # when the writer has said something
        self._timer: asyncio.TimerHandle | None = None
        self._inherited: int | None = None  # the lock that the writer has
        self._fault = ""  # of the files
        self._unlogged: dict[str, int] = {}
        self._logged_at = float("-inf")
        self.room = asyncio.Event()
        self.room.set()

    # Life

    async def start(self) -> None:
        """Start the writer, and wait for the store for a while."""
        self._loop = asyncio.get_running_loop()
        await self._open()
        self._watch()
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready.wait()
        except TimeoutError:
            _log.error("the store of records was not opened within %g s", START_SECONDS)

    async def close(self) -> None:
        """Wait until all is kept, and end the writer, which loads the rest of the files if it can."""
        end = monotonic() + ANSWER_SECONDS
        while (self._sent or self._count_waiting()) and not self._problem and monotonic() < end:
            await asyncio.sleep(0.01)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            await self._link.close()
        if self._files is not None:
            self._files.close()
        if self._sent:
            _log.error("%d records were not acknowledged at the end", sum(sent.count for sent in self._sent))

    async def _open(self) -> None:
        self._opened, self._heard = monotonic(), None
        self._start.position = 0 if self._backlog is None else self._backlog.position
        self._link = WriterLink(self._hear, self._restart)
        self._inherited = lock = None if self._files is None else self._files.lock()
        await self._link.open(self._start, [] if lock is None else [lock])
        self._is_linked = True
        if self._backlog is not None and self._backlog.end:
            self._send(encode(Appended(self._backlog.end)))

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    def _restart(self) -> None:
        """Start another writer, which continues the chains."""
        self._is_linked = False
        # Whether these were committed is not known, so nobody is told that they were.
        self._note_problem(NO_WRITER)
        self._settle(self._number, "refused" if self.is_durable else "lost", NO_WRITER)
        if not self._is_closed:
            delay = 0.0 if monotonic() - self._opened > RESTART_SECONDS else RESTART_SECONDS
            self._loop.call_later(delay, lambda: self._loop.create_task(self._open()))

    @property
    def process_id(self) -> int | None:
        """The process of the writer, if it runs."""
        return None if self._link is None else self._link.process_id

    # What comes

    def check(self) -> None:
        """Raise a `RequestProblem` (503) if a record could not be kept now, and an answer may not go without one."""
        if self._problem and self.is_durable:
            raise RequestProblem.not_recorded(self._problem)

    @property
    def is_under_way(self) -> bool:
        """Whether a frame was not acknowledged yet."""
        return bool(self._sent)

    def wait_for_last(self, call: Keep) -> None:
        """Call a function when the last frame that is under way was dealt with."""
        self._sent[-1].waiting.append(call)

    def put(self, entries: list[Entry], origins: Sequence[Origin], count: int, callbacks: list[Keep]) -> None:
        """Hand over a frame of entries, which have `count` customers; `callbacks` are called when it is kept."""
        fields: Any = list(map(tuple, origins))
        data = encode(Frame(self._number + 1, count, fields, entries))
        failure = self._append(data[HEAD.size :], count)
        if not failure:
            return
        if not self._is_linked:
            self._refuse(count, callbacks, failure)
        elif self._held + len(data) > MAX_HELD_BYTES and self._sent:
            self._refuse(count, callbacks, "the writer of records does not answer")
        else:
            self._number += 1
            self._held += len(data)
            self._sent.append(_Sent(self._number, count, data, monotonic(), callbacks))
            if self._held > MAX_HELD_BYTES // 2:
                self.room.clear()
            self._send(data)

    def _append(self, data: bytes, count: int) -> str:
        """Append a frame to a file; return why it is not kept there, nor anywhere unless it can be sent."""
        if self._backlog is None:
            return NO_WRITER
        if failure := self._backlog.append(data, count):
            return failure
        if self._problem:
            self._tell("spilled", self._backlog.spill(), self._problem)
        self._send(encode(Appended(self._backlog.end)))
        return ""

    def _refuse(self, count: int, callbacks: list[Keep], reason: str) -> None:
        """Say that a frame can't be kept."""
        for call in callbacks:
            call(reason)
        self._tell("refused" if self.is_durable else "lost", count, reason)

    # What the writer says

    def _hear(self, message: Report) -> None:
        self._heard = monotonic()
        if isinstance(message, Condition):
            self._note_problem(message.problem)
            self._ready.set()
        elif isinstance(message, Loaded):
            self._settle_files(message)
        elif isinstance(message, Adopted):
            self._metrics.count_loaded(message.customers)
            self._tell("lost", message.lost, "they can't be read")
            self._adopted_size = message.size
            self._report_files()
        else:
            if message.writer is not None:
                self._start.writer = message.writer
            if self._is_late and message.state == "committed":
                self._is_late = False
                self._note_problem("")
            self._settle(message.number, message.state, message.reason)

    def _settle_files(self, message: Loaded) -> None:
        """Count what was loaded from the files of this worker."""
        if self._backlog is None:
            return
        waited, spilled = self._backlog.settle(message.end)
        if not waited + spilled and self._count_waiting():
            self._backlog.skip()
        lost = min(message.lost, waited + spilled)
        if lost:
            self._tell("lost", lost, "they can't be read")
        self._metrics.count_loaded(max(0, spilled - lost))
        self._metrics.count("committed", waited - max(0, lost - spilled))
        self._report_files()

    def _report_files(self) -> None:
        own = 0 if self._backlog is None else self._backlog.size
        self._metrics.set_condition(own + self._adopted_size, is_down=bool(self._problem))

    def _note_problem(self, problem: str) -> None:
        if problem == self._problem:
            return
        if problem:
            consequence = "requests get 503" if self.is_durable else "records are kept in files until it can"
            _log.error("the store of records can't be written to: %s; %s", problem, consequence)
        else:
            _log.info("the store of records can be written to")
        self._problem = problem
        if problem and self._backlog is not None:
            self._tell("spilled", self._backlog.spill(), problem)
        self._report_files()

    def _settle(self, number: int, state: str, reason: str) -> None:
        """Deal with the frames up to a number."""
        calls: list[Keep] = []
        while self._sent and self._sent[0].number <= number:
            sent = self._sent.popleft()
            self._held -= len(sent.data)
            self._tell(state, sent.count, reason)
            calls += sent.waiting
        if self._held <= MAX_HELD_BYTES // 2:
            self.room.set()
        is_committed = state == "committed"
        if is_committed:
            # First, so that the writer is busy while answers are written. After a failure, what comes next may be
            # refused at once, which must not overtake these.
            self._on_settled()
        for call in calls:
            call("" if is_committed else reason or "the store of records can't be written to")
        if not is_committed:
            self._on_settled()

    def _tell(self, state: str, count: int, reason: str) -> None:
        """Count records, and log it now and then if they were not committed."""
        self._metrics.count(state, count)
        if state == "committed" or not count:
            return
        self._unlogged[state] = self._unlogged.get(state, 0) + count
        if monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = monotonic()
            for name, customers in self._unlogged.items():
                _log.warning("%d records were %s since the last such line: %s", customers, name, reason)
            self._unlogged.clear()

    # Clock

    def _watch(self) -> None:
        """Look at the age of what was not acknowledged, once a second."""
        self.report(0)
        if self.is_durable and self._find_age() > ANSWER_SECONDS:
            reason = f"the store gave no answer within {ANSWER_SECONDS:g} s"
            self._is_late = True
            self._note_problem(reason)
            for sent in self._sent:
                calls, sent.waiting = sent.waiting, []
                for call in calls:
                    call(reason)
            self._on_stuck(reason)
        elif self._is_hanging() and self._link is not None:
            _log.error("the writer of records has not answered for %g s; it is replaced", HANG_SECONDS)
            self._link.kill()
        if self._backlog is not None and (self._is_hanging() or not self._count_waiting()):
            # What is loaded should not stay in a file, and a file that can't be read must not grow.
            self._backlog.renew()
            self._look_after_files()
        if not self._is_closed:
            self._timer = self._loop.call_later(1.0, self._watch)

    def _look_after_files(self) -> None:
        """Lock the session anew if its lock was removed, for the writer, too; say which files can't be removed."""
        if self._files is None or self._backlog is None:
            return
        if self._backlog.fault != self._fault:
            self._fault = self._backlog.fault
            _log.error("files of records that were loaded can't be removed: %s", self._fault or "(they can now)")
        if self._is_linked and self._link is not None and self._files.lock() != self._inherited and not self._sent:
            _log.error("the lock of the files of records was removed; the writer is replaced by one with another lock")
            self._inherited = self._files.lock()
            self._link.kill()

    def _count_waiting(self) -> int:
        """Return the number of customers in files that are yet to be loaded."""
        return 0 if self._backlog is None else self._backlog.waiting + self._backlog.spilled

    def _is_hanging(self) -> bool:
        """Whether the writer does not deal with what waits in mode behind, and does not say that the store is down."""
        is_waiting = self._count_waiting() or (self._sent and not self.is_durable)
        is_idle = not self._is_linked or self._problem or not is_waiting
        since = self._opened + START_SECONDS if self._heard is None else self._heard
        return not is_idle and min(monotonic() - since, self._find_age()) > HANG_SECONDS

    def _find_age(self) -> float:
        """Return for how long the oldest frame has not been dealt with, in seconds."""
        ages = [monotonic() - self._sent[0].since] if self._sent else []
        return max([*ages, 0.0 if self._backlog is None else self._backlog.age])

    def report(self, collected: int) -> None:
        """Report what waits, besides what was `collected` and not handed over."""
        count = collected + sum(sent.count for sent in self._sent)
        waiting = 0 if self._backlog is None else self._backlog.waiting
        self._metrics.set_waiting(count + waiting, self._find_age())
