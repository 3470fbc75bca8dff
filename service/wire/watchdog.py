"""Time limits of a connection, enforced with one timer that may fire early but never late."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from service.wire.reading import HEAD, LINGERING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from service.wire.reading import Limits, ReadState
    from service.wire.uvicorn_internals import FlowControl

LINGER_SECONDS = 30.0
"""Maximum time in seconds in which data are read and discarded after an error response."""

LINGER_PAUSE_SECONDS = 5.0
"""Maximum pause in seconds between such data."""


READING_SECONDS = 0.01
"""Time in which what has arrived is read before a time limit is enforced."""


def call_after_reading(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> asyncio.TimerHandle:
    """Call a function after the sockets have been read once more.

    After a pause of the process, uvloop calls timers first: a time limit seems to be exceeded by a client whose bytes
    arrived in time.
    """
    return loop.call_later(READING_SECONDS, call)


class Watched(Protocol):
    """The parts of a connection that the watchdog uses."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    reading: ReadState
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None
    """The timer."""

    @property
    def is_in_flight(self) -> bool:
        """Whether a response is pending."""

    def timeout_keep_alive_handler(self) -> None:
        """Call `Watchdog.look`; called by the timer."""

    def refuse_slow_head(self) -> None:
        """Reject the request whose head is incomplete."""

    def close_now(self) -> None:
        """Close the transport."""


class Watchdog:
    """Enforce the time limits of one connection.

    The timer is not reset for each request, which would be slower; when it fires, it checks whether the connection was
    active meanwhile.

    Parameters
    ----------
    connection : Watched
    limits : Limits

    Attributes
    ----------
    active : float
        Time of the last received data or completed response (`time.monotonic`).
    since : float
        Start time of the current head, or of lingering.
    """

    def __init__(self, connection: Watched, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._due = 0.0
        self._unsent = 0
        self._unsent_since = 0.0
        self.active = self.since = monotonic()

    def watch_idle(self) -> None:
        """Start the limit for the next request."""
        self._watch(self.active + self._connection.timeout_keep_alive)

    def watch_head(self) -> None:
        """Start the limit for a head that has just begun."""
        self.since = self.active
        self._watch(self.active + self._limits.head)

    def watch_lingering(self) -> None:
        """Start the limit for lingering."""
        self.since = self.active = monotonic()
        self._watch(self.active + LINGER_PAUSE_SECONDS)

    def watch_unsent(self) -> None:
        """Start the limit for the client to read some of the unsent data."""
        self._unsent = 0
        if self._measure_unsent():
            self._watch(self._unsent_since + self._limits.send)

    def _measure_unsent(self) -> int:
        unsent = self._connection.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, monotonic()
        return unsent

    def _watch(self, due: float) -> None:
        connection = self._connection
        if connection.timeout_keep_alive_task is not None:
            if self._due <= due:
                return
            connection.timeout_keep_alive_task.cancel()
        self._due = due
        connection.timeout_keep_alive_task = connection.loop.call_later(due - monotonic(), self._look_after_reading)

    def _look_after_reading(self) -> None:
        connection = self._connection
        handler = connection.timeout_keep_alive_handler
        connection.timeout_keep_alive_task = call_after_reading(connection.loop, handler)

    def look(self) -> None:
        """Act if a limit is exceeded; otherwise set the timer to its end."""
        connection = self._connection
        connection.timeout_keep_alive_task = None
        transport = connection.transport
        if transport.is_closing() or connection.flow.write_paused:
            self._measure_unsent()
            self._expire(self._unsent_since + self._limits.send, transport.abort)
        elif connection.reading is LINGERING:
            self._expire(min(self.active + LINGER_PAUSE_SECONDS, self.since + LINGER_SECONDS), transport.abort)
        elif connection.is_in_flight:
            pass  # the timer is set at the end of the response
        elif connection.reading is HEAD:
            self._expire(self.since + self._limits.head, connection.refuse_slow_head)
        else:
            self._expire(self.active + connection.timeout_keep_alive, connection.close_now)

    def _expire(self, due: float, act: Callable[[], None]) -> None:
        if due <= self._due:
            act()
        else:
            self._watch(due)
