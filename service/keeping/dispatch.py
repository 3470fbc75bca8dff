"""Frames of a worker's records: sent to its writer, until it has dealt with them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from records.messages import HEAD, Adopted, Condition, Done, Frame, Start, encode
from records.spill import name_session
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

CLOSE_SECONDS = 5.0
"""Longest time that the end of the service waits for what is not kept yet."""

START_SECONDS = 15.0
"""Longest time that the start of the service waits for its store."""

LOG_SECONDS = 10.0
"""Minimum interval of log lines about records that are not kept."""

NO_WRITER = "the writer of records has ended"
NOT_WRITABLE = "the store of records can't be written to"

_log = logging.getLogger(__name__)


class _Sent:
    """A frame that was not acknowledged."""

    __slots__ = ("count", "data", "number", "since", "waiting")

    def __init__(self, number: int, count: int, data: bytes, since: float, waiting: list[Keep]) -> None:
        self.number, self.count, self.data, self.since, self.waiting = number, count, data, since, waiting


class Dispatcher:
    """Hands frames to the writer of a worker; each mode has a subclass. All methods are to be called in the event loop.

    Parameters
    ----------
    settings : Settings
        With `records`.
    metrics : RecordMetrics
    on_settled : callable
        Called when frames were dealt with.

    Attributes
    ----------
    room : asyncio.Event
        Set while more can be handed over.
    """

    is_durable: ClassVar[bool]
    """Whether answers wait for their records."""

    unkept: ClassVar[str]
    """State in which records are counted that are not kept."""

    consequence: ClassVar[str]
    """What happens while the store can't be written to."""

    def __init__(self, settings: Settings, metrics: RecordMetrics, on_settled: Callable[[], None]) -> None:
        assert settings.records is not None  # noqa: S101  the caller has looked
        self._metrics = metrics
        self._on_settled = on_settled
        self._start = Start(
            settings.records, self.is_durable, choose_spill(settings), name_session(), settings.records_lag
        )
        self._link: WriterLink | None = None
        self._problem = "the store has not been opened yet"
        self._ready = asyncio.Event()
        self._sent: deque[_Sent] = deque()
        self._number = self._held = self._adopted_size = 0
        self._is_closed = self._is_linked = False
        self._timer: asyncio.TimerHandle | None = None
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
        end = monotonic() + CLOSE_SECONDS
        while self._is_waiting and not self._problem and monotonic() < end:
            await asyncio.sleep(0.01)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            await self._link.close()
        if self._sent:
            _log.error("%d records were not acknowledged at shutdown", sum(sent.count for sent in self._sent))

    async def _open(self) -> None:
        self._opened = monotonic()
        self._link = WriterLink(self._hear, self._restart)
        await self._link.open(self._start, self._list_locks())
        self._is_linked = True

    def _list_locks(self) -> list[int]:
        """Return the descriptors that the writer inherits."""
        return []

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    def _restart(self) -> None:
        """Start another writer, which continues the chains."""
        self._is_linked = False
        # Whether these were committed is not known, so nobody is told that they were.
        self._note_problem(NO_WRITER)
        self._settle(self._number, self.unkept, NO_WRITER)
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

    def _append(self, data: bytes, count: int) -> str:  # noqa: ARG002  of a subclass
        """Append a frame to a file; return why it is not kept there, nor anywhere unless it can be sent."""
        return NO_WRITER

    def _refuse(self, count: int, callbacks: list[Keep], reason: str) -> None:
        """Say that a frame can't be kept."""
        for call in callbacks:
            call(reason)
        self._tell(self.unkept, count, reason)

    # What the writer says

    def _hear(self, message: Report) -> None:
        if isinstance(message, Condition):
            self._note_problem(message.problem)
            self._ready.set()
        elif isinstance(message, Done):
            if message.writer is not None:
                self._start.writer = message.writer
            self._settle(message.number, message.state, message.reason)
        elif isinstance(message, Adopted):
            self._metrics.count_loaded(message.customers)
            self._tell("lost", message.lost, "they can't be read")
            self._adopted_size = message.size
            self._report_condition()

    def _note_problem(self, problem: str) -> None:
        """Remember why the store can't be written to, or that it can."""
        if problem == self._problem:
            return
        if problem:
            _log.error("%s: %s; %s", NOT_WRITABLE, problem, self.consequence)
        else:
            _log.info("the store of records can be written to")
        self._problem = problem
        self._report_condition()

    def _report_condition(self) -> None:
        self._metrics.set_condition(self._adopted_size, is_down=bool(self._problem))

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
            call("" if is_committed else reason or NOT_WRITABLE)
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
        """Look after what was not dealt with, once a second."""
        self.report(0)
        self._look()
        if not self._is_closed:
            self._timer = self._loop.call_later(1.0, self._watch)

    def _look(self) -> None:
        """Do what is to be done once a second."""

    @property
    def _is_waiting(self) -> bool:
        """Whether something is not in the database yet."""
        return bool(self._sent)

    def _find_age(self) -> float:
        """Return for how long the oldest frame has not been dealt with, in seconds."""
        return monotonic() - self._sent[0].since if self._sent else 0.0

    def report(self, collected: int) -> None:
        """Report what waits, besides what was `collected` and not handed over."""
        self._metrics.set_waiting(collected + sum(sent.count for sent in self._sent), self._find_age())
