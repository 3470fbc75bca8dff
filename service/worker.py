"""A worker process and the pipe between it and its supervisor: pings one way, the worker's phase the other."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from service.observe.multiprocess import remove_shared_metrics

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

_log = logging.getLogger(__name__)

PING = b"ping"
RETIRE = b"retire"

PING_SECONDS = 0.5
"""Time between an answer and the next ping, at most; a quarter of what a worker may take to answer, if that is less."""


class Worker:
    """A spawned worker process, as its supervisor sees it.

    Spawned, not forked: TensorFlow and thread pools do not survive a fork.

    Parameters
    ----------
    target : callable
        What the process runs; importable, and called with `arguments` and the process's end of the pipe.
    arguments : tuple
        Picklable.
    answer_seconds : float
        Time without an answer after which a worker that has been ready counts as hung.
    start_seconds : float
        Time within which it must become ready.

    Attributes
    ----------
    phase : str
        "starting" until it answers for the first time, then "loading", "ready", "draining" or "failed", as it says.
    was_ready : bool
    age : float
        Seconds since its start, as given to `check`.
    pid : int
    """

    def __init__(
        self, target: Callable[..., None], arguments: tuple[Any, ...], answer_seconds: float, start_seconds: float
    ) -> None:
        self._answer_seconds = answer_seconds
        self._start_seconds = start_seconds
        self._ping_seconds = min(PING_SECONDS, answer_seconds / 4)
        self.phase = "starting"
        self.was_ready = False
        self.age = 0.0
        self._reason = ""
        self._silence = self._ping_seconds
        self._is_pinged = False
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(*arguments, theirs))
        self._process.start()
        theirs.close()
        self.pid = self._process.pid
        self._is_closed = False

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return not self._is_closed and self._process.is_alive()

    def check(self, elapsed: float) -> str:
        """Read the worker's answers and ping it again.

        Parameters
        ----------
        elapsed : float
            Seconds since the last call during which the worker could have answered.

        Returns
        -------
        str
            What is wrong with the worker, as a clause without a subject; empty if nothing is.
        """
        self.age += elapsed
        self._silence += elapsed
        alive = self.is_alive  # before its last words are read
        self._exchange()
        if self.phase == "failed":
            return f"failed: {self._reason}"
        if not alive:
            return self._describe_end()
        if not self.was_ready:
            return f"was not ready after {self._start_seconds:g} s" if self.age > self._start_seconds else ""
        return f"did not answer for {self._answer_seconds:g} s" if self._silence > self._answer_seconds else ""

    def _exchange(self) -> None:
        try:
            while self._pipe.poll():
                self.phase, _, self._reason = self._pipe.recv_bytes().decode().partition(" ")
                self.was_ready |= self.phase == "ready"
                self._silence, self._is_pinged = 0.0, False
            if not self._is_pinged and self._silence >= self._ping_seconds:
                self._pipe.send_bytes(PING)  # one at a time, so that the pipe never fills up
                self._is_pinged = True
        except (EOFError, OSError):  # it is ending; its exit status is what counts
            pass

    def _describe_end(self) -> str:
        status = self._process.exitcode or 0
        if status < 0:
            return f"was killed by signal {-status} ({signal.strsignal(-status)})"
        return f"ended with status {status}"

    def retire(self) -> None:
        """Ask it to accept no more connections, to finish its requests and to end."""
        with suppress(OSError):  # it is ending already
            self._pipe.send_bytes(RETIRE)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once and wait until it has ended."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Release what the supervisor holds of the process, after killing it if it still runs."""
        if not self._is_closed:
            self.kill()
            self._pipe.close()
            self._process.close()
            self._is_closed = True


class Supervised(Protocol):
    """What a worker does at its supervisor's word."""

    def describe_phase(self) -> str:
        """Return the phase; if it is "failed", a space and the reason follow."""

    def retire(self) -> None:
        """Accept no more connections, finish the requests in flight and end; others serve meanwhile."""

    def end_orphaned(self) -> None:
        """Drain and end: the supervisor is gone."""


class SupervisorPipe:
    """A worker's end of the pipe. Pings are answered by the event loop, so that a loop that hangs is noticed.

    Parameters
    ----------
    pipe : Connection

    Attributes
    ----------
    is_orphaned : bool
        Whether the supervisor ended before the worker did.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.is_orphaned = False

    def attach(self, loop: asyncio.AbstractEventLoop, worker: Supervised) -> None:
        """Answer pings and pass commands on from now on."""
        loop.add_reader(self._pipe.fileno(), self._receive, loop, worker)

    def _receive(self, loop: asyncio.AbstractEventLoop, worker: Supervised) -> None:
        try:
            message = self._pipe.recv_bytes()
            if message == PING:
                self.report(worker.describe_phase())
            elif message == RETIRE:
                worker.retire()
        except (EOFError, OSError):  # the other end is closed
            loop.remove_reader(self._pipe.fileno())
            self.is_orphaned = True
            worker.end_orphaned()

    def report(self, phase: str) -> None:
        """Tell the supervisor the phase, as `Supervised.describe_phase` returns it, without waiting for a ping."""
        with suppress(OSError):  # the supervisor is gone
            self._pipe.send_bytes(phase.encode())


@contextmanager
def connect_supervisor(pipe: Connection) -> Iterator[SupervisorPipe]:
    """Run a worker's code in the block: tell the supervisor if it raises, and clean up if the supervisor is gone.

    Ctrl-C and the hang-up of a terminal reach every process; they are left to the supervisor.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    supervisor = SupervisorPipe(pipe)
    try:
        yield supervisor
    except Exception as error:  # noqa: BLE001  whatever it was, the supervisor is to say so
        _log.exception("the worker failed")
        supervisor.report(f"failed {type(error).__name__}: {error}")
        sys.exit(1)
    finally:
        if supervisor.is_orphaned:
            remove_shared_metrics()
