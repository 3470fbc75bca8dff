"""The time limits of a connection: one timer, which may fire too early but not too late."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from service.wire.reading import HEAD, LINGERING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from service.wire.reading import Limits, Reading
    from service.wire.uvicorn_internals import FlowControl

LINGER_SECONDS = 30.0
"""Longest time that what a refused client still sends is read and dropped."""

LINGER_PAUSE_SECONDS = 5.0
"""Longest pause of the client in that time."""


class Watched(Protocol):
    """What is looked at of a connection, and done to it."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    flow: FlowControl
    reading: Reading
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None
    """The timer."""

    @property
    def is_in_flight(self) -> bool:
        """Whether a response is due."""

    def timeout_keep_alive_handler(self) -> None:
        """Call `Watchdog.look`, when the timer fires."""

    def refuse_slow_head(self) -> None:
        """Refuse the request whose head is read."""

    def close_now(self) -> None:
        """Close the transport."""


class Watchdog:
    """Ends what takes too long on one connection.

    Setting a timer for each request would cost more than to let one find out that the connection was busy.

    Parameters
    ----------
    connection : Watched
    limits : Limits

    Attributes
    ----------
    active : float
        When something last arrived, or a response was completed.
    since : float
        When the head that is read, or lingering, began.
    """

    def __init__(self, connection: Watched, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._due = 0.0
        self._unsent = 0
        self._unsent_since = 0.0
        self.active = self.since = monotonic()

    def watch_idle(self) -> None:
        """Limit the time until the next request."""
        self._watch(self.active + self._connection.timeout_keep_alive)

    def watch_head(self) -> None:
        """Limit the time of a head that has begun now."""
        self.since = self.active
        self._watch(self.active + self._limits.head)

    def watch_lingering(self) -> None:
        """Limit the time of lingering, which begins now."""
        self.since = self.active = monotonic()
        self._watch(self.active + LINGER_PAUSE_SECONDS)

    def watch_unsent(self) -> None:
        """Limit the time in which the client reads nothing of what is written."""
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
        connection.timeout_keep_alive_task = connection.loop.call_later(
            due - monotonic(), connection.timeout_keep_alive_handler
        )

    def look(self) -> None:
        """End what has taken too long; else look again when it could have."""
        connection = self._connection
        connection.timeout_keep_alive_task = None
        transport = connection.transport
        if transport.is_closing() or connection.flow.write_paused:
            self._measure_unsent()
            self._expire(self._unsent_since + self._limits.send, transport.abort)
        elif connection.reading is LINGERING:
            self._expire(min(self.active + LINGER_PAUSE_SECONDS, self.since + LINGER_SECONDS), transport.abort)
        elif connection.is_in_flight:
            pass  # the end of the response sets the timer
        elif connection.reading is HEAD:
            self._expire(self.since + self._limits.head, connection.refuse_slow_head)
        else:
            self._expire(self.active + connection.timeout_keep_alive, connection.close_now)

    def _expire(self, due: float, act: Callable[[], None]) -> None:
        if due <= self._due:
            act()
        else:
            self._watch(due)
