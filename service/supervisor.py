"""Supervisor of worker processes: replaces workers that die or hang, restarts them on SIGHUP, and shuts them down.

docs/decisions/supervisor.md explains why uvicorn's supervisor is not used.
"""

from __future__ import annotations

import logging
import signal
import time
from typing import TYPE_CHECKING, Any, Protocol

from churn.errors import ChurnError
from service.observe.multiprocess import forget_worker
from service.wire.spread import CLOSED
from service.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableSequence, Sequence

TICK_SECONDS = 0.1

MAX_START_FAILURES = 5
"""Number of consecutive start failures of a worker after which the service exits, unless another worker is ready."""

EARLY_DEATH_SECONDS = 10.0
"""Age below which a worker has died early: further starts are delayed, each time twice as long."""

FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 30.0

SPARE_PLACES = 4
"""Places for workers that are being replaced, besides those that serve."""

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """The listening socket as the supervisor sees it."""

    @property
    def is_shared(self) -> bool:
        """Whether another process accepts its connections, or keeps it open."""

    def listen(self) -> None:
        """Listen, before workers begin to accept connections."""

    def note_serving(self) -> None:
        """Workers begin to accept connections."""

    def is_taken_over(self) -> bool:
        """Return whether another process has begun to accept the connections; called ten times per second."""

    def ignore_new(self) -> None:
        """Let the kernel ignore new connections."""

    def close(self) -> None:
        """Close it, unless it is closed."""


class SupervisorError(ChurnError):
    """Workers repeatedly fail to start."""


class Conductor(Protocol):
    """What decides on the models of the workers."""

    @property
    def lineup(self) -> object:
        """The models that workers load that start now; picklable."""

    @property
    def is_idle(self) -> bool:
        """Whether no change of the models is being made."""

    @property
    def fault(self) -> str:
        """Why the change that `look_again` began has failed; empty if it has not."""

    def look_again(self) -> None:
        """Begin to change to the models that are now current."""

    def tick(self, members: Sequence[Worker]) -> None:
        """Continue; called with all workers, ten times per second."""


class _Slot:
    """One of the workers: its current process, and how often its processes have failed in a row."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.wait_seconds = 0.0
        self.start_failures = 0
        self._early_deaths = 0

    @property
    def has_failed(self) -> bool:
        """Whether its last process has failed to start, or died young."""
        return self.start_failures > 0

    @property
    def is_ready(self) -> bool:
        return self.worker is not None and self.worker.phase == "ready"

    def note_failure(self, worker: Worker | None = None) -> None:
        """Record that the process failed, or could not be spawned (None), and set the delay of the next one."""
        self.worker = None
        self._early_deaths = self._early_deaths + 1 if worker is None or worker.age < EARLY_DEATH_SECONDS else 0
        self.start_failures = 0 if worker is not None and worker.was_ready else self.start_failures + 1
        # The first process that dies after it was ready is replaced without delay.
        count = max(self._early_deaths - 1, self.start_failures)
        self.wait_seconds = min(FIRST_DELAY_SECONDS * 2 ** (count - 1), LAST_DELAY_SECONDS) if count else 0.0


class Supervisor:
    """Runs a function in several processes until SIGTERM or SIGINT.

    Parameters
    ----------
    target : callable
        Function that a worker runs; see `Worker`.
    arguments : tuple
        Its first arguments; picklable. The models of `conductor` follow.
    workers : int
    answer_seconds, start_seconds : float
        See `Worker`.
    drain_seconds : float
        For how long workers still accept connections after SIGTERM.
    counts : sequence of int
        Numbers of connections of the workers, see `service.wire.spread.Spread`: longer than `workers` by
        `SPARE_PLACES`.
    conductor : Conductor
        Changes the models of the workers while they serve.
    listener : Listener
        Told when workers begin to accept connections, and when they are to end.
    renew : callable, optional
        Returns `arguments` for the workers of a restart (SIGHUP); raises ChurnError if there are none.
    """

    def __init__(
        self,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        workers: int,
        *,
        answer_seconds: float,
        start_seconds: float,
        drain_seconds: float,
        counts: MutableSequence[int],
        conductor: Conductor,
        listener: Listener,
        renew: Callable[[], tuple[Any, ...]] | None = None,
    ) -> None:
        self._target = target
        self._arguments = arguments
        self._renew = renew
        self._limits = answer_seconds, start_seconds
        self._drain_seconds = drain_seconds
        self._counts = counts
        self._places = [*range(len(counts))]
        self._conductor = conductor
        self._listener = listener
        self._is_open = self._is_ending = False
        self._slots = [_Slot() for _ in range(workers)]
        self._retiring: list[Worker] = []
        self._coming: Worker | None = None
        """Replaces a worker during a restart as soon as it is ready."""
        self._restart: Iterator[None] | None = None
        self._elapsed = 0.0
        self._signals: list[int] = []

    @property
    def fault(self) -> str:
        """Why the service is not ready; empty if it is. Safe to read from any thread."""
        if self._is_ending:
            return "the service is shutting down"
        if not self._is_open:
            return "the workers are starting"
        return "" if any(slot.is_ready for slot in self._slots) else "no worker is ready"

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then wait for the workers to drain; a second signal kills them.

        SIGHUP changes to the models that are then current, and restarts the workers one after the other: each one runs
        until its replacement is ready.

        Raises
        ------
        SupervisorError
            If a worker fails to start `MAX_START_FAILURES` times in a row while no other worker is ready.
        """
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda number, _: self._signals.append(number)) for number in numbers}
        try:
            for elapsed in _tick():
                self._watch(elapsed)
                self._admit()
                if self._count_stops() or self._listener.is_taken_over():
                    break
            self._is_ending = True
            self._end()
        except BaseException:
            for worker in self._list_workers():
                self._discard(worker)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count_stops(self) -> int:
        return sum(number != signal.SIGHUP for number in self._signals)

    def _list_workers(self) -> list[Worker]:
        serving = [slot.worker for slot in self._slots]
        return [worker for worker in (*serving, self._coming, *self._retiring) if worker is not None]

    def _watch(self, elapsed: float) -> None:
        """Replace failed workers, and continue a restart in progress."""
        for slot in self._slots:
            self._watch_slot(slot, elapsed)
        self._retiring = [worker for worker in self._retiring if not self._has_ended(worker, elapsed)]
        self._conductor.tick(self._list_workers())
        if self._restart is None and signal.SIGHUP in self._signals:
            while signal.SIGHUP in self._signals:
                self._signals.remove(signal.SIGHUP)
            self._restart = self._restart_workers()
        if self._restart is not None:
            self._elapsed = elapsed
            if next(self._restart, True):  # the default, when the generator is exhausted
                self._restart = None

    def _admit(self) -> None:
        """Let workers that are ready accept connections: at first when all are, or one has failed, then at once."""
        ready = [worker for worker in self._list_workers() if worker.phase == "ready"]
        if not self._is_open:
            if not ready or not all(slot.is_ready or slot.has_failed for slot in self._slots):
                return
            self._is_open = True
            if len(ready) < len(self._slots):
                _log.warning("serving with %d of %d workers", len(ready), len(self._slots))
        is_first = not any(worker.may_accept for worker in ready)
        if is_first:
            self._listener.listen()
        for worker in ready:
            worker.accept()
        if is_first:
            self._listener.note_serving()

    def _watch_slot(self, slot: _Slot, elapsed: float) -> None:
        worker = slot.worker
        if worker is not None:
            if fault := worker.check(elapsed):
                slot.note_failure(worker)
                self._discard(worker)
                self._report(slot, f"worker {worker.pid} {fault}")
            return
        slot.wait_seconds -= elapsed
        if slot.wait_seconds <= 0:
            try:
                slot.worker = self._start(self._arguments)
            except OSError as error:
                slot.note_failure()
                self._report(slot, f"a worker could not be started: {error}")

    def _report(self, slot: _Slot, failure: str) -> None:
        if slot.start_failures >= MAX_START_FAILURES and not any(other.is_ready for other in self._slots):
            raise SupervisorError(f"{slot.start_failures} workers in a row could not be started; the last: {failure}")
        when = f"in {slot.wait_seconds:g} s" if slot.wait_seconds else "at once"
        _log.error("%s; starting another %s", failure, when)

    def _restart_workers(self) -> Iterator[None]:
        """Replace the workers one after the other; yields while it waits."""
        try:
            arguments = self._arguments if self._renew is None else self._renew()
        except ChurnError as error:
            _log.error("the workers are not restarted: %s", error)
            return
        self._conductor.look_again()
        while not self._conductor.is_idle:
            yield
        if self._conductor.fault:
            _log.error("the workers are not restarted: %s", self._conductor.fault)
            return
        _log.info("restarting the workers")
        for slot in self._slots:
            try:
                worker = self._coming = self._start(arguments)
            except OSError as error:
                _log.error("a worker could not be started: %s; stopping the restart", error)
                return
            while worker.phase != "ready":
                yield
                if fault := worker.check(self._elapsed):
                    self._coming = None
                    self._discard(worker)
                    _log.error("worker %s %s; stopping the restart", worker.pid, fault)
                    return
            self._arguments = arguments  # they have proved themselves
            old, slot.worker, self._coming = slot.worker, worker, None
            if old is not None:
                old.retire()
                self._retiring.append(old)
            while self._retiring:
                yield
        _log.info("all workers have been restarted")

    def _end(self) -> None:
        left = self._list_workers()
        hands_over = self._listener.is_shared
        for worker in left:
            if worker not in self._retiring:
                worker.retire() if hands_over else worker.terminate()
        is_killing = False
        until_drained = self._drain_seconds
        first = self._count_stops()
        for elapsed in _tick():
            until_drained -= elapsed
            if all(count == CLOSED for count in self._counts):
                self._listener.close()  # the workers finish the requests in flight; new connections are refused
            elif until_drained <= 0 and not hands_over:
                self._listener.ignore_new()
            if self._count_stops() > max(first, 1) and not is_killing:
                is_killing = True
                _log.warning("second signal: killing the workers")
                for worker in left:
                    worker.kill()
            left = [worker for worker in left if not self._has_ended(worker, elapsed)]
            if not left:
                return

    def _start(self, arguments: tuple[Any, ...]) -> Worker:
        place = self._places.pop(0)
        try:
            return Worker(self._target, (*arguments, self._conductor.lineup), place, *self._limits)
        except BaseException:
            self._places.insert(0, place)
            raise

    def _has_ended(self, worker: Worker, elapsed: float) -> bool:
        """Return whether a worker that is shutting down has exited; kill it if it hangs."""
        fault = worker.check(elapsed)
        if fault and worker.is_alive:
            _log.error("worker %s %s; killing it", worker.pid, fault)
        if fault:
            self._discard(worker)
        return bool(fault)

    def _discard(self, worker: Worker) -> None:
        worker.close()
        forget_worker(worker.place)
        self._counts[worker.place] = CLOSED
        self._places.insert(0, worker.place)


def _tick() -> Iterator[float]:
    """Yield the elapsed time in seconds, ten times per second, without end.

    The time is limited to two ticks: while this process did not run, e.g. because the machine was suspended or
    overloaded, its workers may not have run either and are not to be treated as hung.
    """
    before = time.monotonic()
    while True:
        now = time.monotonic()
        yield min(now - before, 2 * TICK_SECONDS)
        before = now
        time.sleep(TICK_SECONDS)
