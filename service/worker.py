"""Worker processes, and the pipe over which a supervisor pings a worker and the worker reports its phase."""

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
ACCEPT = b"accept"

SHARED_SIGNALS = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to all processes; the supervisor handles them."""

JSON = b"{"
"""Beginning of a message about the models, see `service.rollout.messages`; the others are words."""

PING_SECONDS = 0.5
"""Maximum interval between a response and the next ping; at most a quarter of the response timeout."""


class Worker:
    """The supervisor's view of a worker process.

    Processes are spawned, not forked, because TensorFlow and thread pools do not work after a fork.

    Parameters
    ----------
    target : callable
        Importable function that the process runs, called with `arguments`, `place` and the worker's end of the pipe.
    arguments : tuple
        Picklable.
    place : int
        A number that no other living worker has.
    answer_seconds : float
        Time without a response after which a worker that was ready has failed.
    start_seconds : float
        Time within which the worker must become ready.

    Attributes
    ----------
    phase : str
        "starting" until the first response, then "loading", "ready", "draining" or "failed" as reported by the worker.
    was_ready : bool
    may_accept : bool
        Whether `accept` has been called.
    place : int
    age : float
        Sum of the elapsed times passed to `check`, in seconds.
    pid : int
    """

    def __init__(
        self,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        place: int,
        answer_seconds: float,
        start_seconds: float,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._start_seconds = start_seconds
        self._ping_seconds = min(PING_SECONDS, answer_seconds / 4)
        self.phase = "starting"
        self.was_ready = False
        self.may_accept = False
        self.place = place
        self.age = 0.0
        self._reason = ""
        self._silence = self._ping_seconds
        self._is_pinged = False
        self._messages: list[bytes] = []
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(*arguments, place, theirs))
        # A signal that a terminal sends to all processes waits until `connect_supervisor` ignores it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SHARED_SIGNALS)
        try:
            self._process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.pid = self._process.pid
        self._is_closed = False

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return not self._is_closed and self._process.is_alive()

    def check(self, elapsed: float) -> str:
        """Read the worker's responses and ping it again.

        Parameters
        ----------
        elapsed : float
            Time in seconds since the previous call.

        Returns
        -------
        str
            Why the worker has failed, e.g. "did not answer for 5 s"; empty if it has not.
        """
        self.age += elapsed
        self._silence += elapsed
        alive = self.is_alive  # before its last messages are read
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
                message = self._pipe.recv_bytes()
                if message.startswith(JSON):
                    self._messages.append(message)
                    continue
                self.phase, _, self._reason = message.decode().partition(" ")
                self.was_ready |= self.phase == "ready"
                self._silence, self._is_pinged = 0.0, False
            if not self._is_pinged and self._silence >= self._ping_seconds:
                self._pipe.send_bytes(PING)  # one at a time, so that the pipe does not fill up
                self._is_pinged = True
        except (EOFError, OSError):  # the process is exiting and will be seen as dead
            pass

    def _describe_end(self) -> str:
        status = self._process.exitcode or 0
        if status < 0:
            return f"was killed by signal {-status} ({signal.strsignal(-status)})"
        return f"ended with status {status}"

    def send(self, message: bytes) -> None:
        """Send a message about the models."""
        with suppress(OSError):  # it is exiting already
            self._pipe.send_bytes(message)

    def take_messages(self) -> list[bytes]:
        """Return the messages about the models that `check` has read."""
        messages, self._messages = self._messages, []
        return messages

    def accept(self) -> None:
        """Allow the worker to accept connections."""
        if not self.may_accept:
            self.may_accept = True
            with suppress(OSError):  # it is exiting already
                self._pipe.send_bytes(ACCEPT)

    def retire(self) -> None:
        """Ask the worker to stop accepting connections, finish its requests and exit."""
        with suppress(OSError):  # it is exiting already
            self._pipe.send_bytes(RETIRE)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process and wait for its exit."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Kill the process if it is running, and release its resources."""
        if not self._is_closed:
            self.kill()
            self._pipe.close()
            self._process.close()
            self._is_closed = True


class Supervised(Protocol):
    """Interface of a worker to its supervisor."""

    def describe_phase(self) -> str:
        """Return the phase; "failed" is followed by a space and the reason."""

    def receive(self, message: bytes) -> None:
        """Handle a message about the models."""

    def accept(self) -> None:
        """Accept connections from now on."""

    def retire(self) -> None:
        """Stop accepting connections, finish the requests in flight and exit, without becoming unready."""

    def end_orphaned(self) -> None:
        """Drain and exit, because the supervisor has ended."""


class SupervisorPipe:
    """The worker's end of the pipe. The event loop responds to pings, so that a blocked loop is detected.

    Parameters
    ----------
    pipe : Connection

    Attributes
    ----------
    is_orphaned : bool
        Whether the supervisor has ended before the worker.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.is_orphaned = False

    def attach(self, loop: asyncio.AbstractEventLoop, worker: Supervised) -> None:
        """Respond to pings and commands in an event loop."""
        loop.add_reader(self._pipe.fileno(), self._receive, loop, worker)

    def _receive(self, loop: asyncio.AbstractEventLoop, worker: Supervised) -> None:
        try:
            message = self._pipe.recv_bytes()
            if message == PING:
                self.report(worker.describe_phase())
            elif message == ACCEPT:
                worker.accept()
            elif message == RETIRE:
                worker.retire()
            elif message.startswith(JSON):
                worker.receive(message)
        except (EOFError, OSError):  # the other end is closed
            loop.remove_reader(self._pipe.fileno())
            self.is_orphaned = True
            worker.end_orphaned()

    def send(self, message: bytes) -> None:
        """Send a message about the models."""
        with suppress(OSError):  # the supervisor is gone
            self._pipe.send_bytes(message)

    def report(self, phase: str) -> None:
        """Send the phase, in the form of `Supervised.describe_phase`, without waiting for a ping."""
        with suppress(OSError):  # the supervisor is gone
            self._pipe.send_bytes(phase.encode())


@contextmanager
def connect_supervisor(pipe: Connection) -> Iterator[SupervisorPipe]:
    """Connect the worker that runs in the block to its supervisor.

    Exceptions are reported to the supervisor. SIGINT and SIGHUP, which a terminal sends to all processes, are ignored,
    because the supervisor handles them. If the supervisor has ended, the shared metrics are removed.
    """
    for number in SHARED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SHARED_SIGNALS)
    supervisor = SupervisorPipe(pipe)
    try:
        yield supervisor
    except Exception as error:  # noqa: BLE001  reported by the supervisor
        _log.exception("the worker failed")
        supervisor.report(f"failed {type(error).__name__}: {error}")
        sys.exit(1)
    finally:
        if supervisor.is_orphaned:
            remove_shared_metrics()
