"""Accept connections: several in each iteration of the event loop, and no more than there are file descriptors for.

libuv accepts one connection per iteration. A busy worker has some hundred iterations per second, so clients that
connect again, and probes, would wait for seconds. An `accept` without a file descriptor would end uvloop's server.

The kernel wakes all workers that share a listening socket for a new connection, and the one that is free first accepts
it. A worker that has more connections than another therefore stops accepting for a moment.

In an overload, connections with a request are accepted and wait (`service.wire.lobby`), except those of probes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, cast

from service.wire.backlog import PROBES
from service.wire.descriptors import MOST_REFUSED, SPARE_CONNECTIONS
from service.wire.listening import BACKLOG
from service.wire.lobby import Lobby
from service.wire.peeking import peek
from service.wire.spread import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.wire.spread import Spread

ACCEPT_SECONDS = 0.005
"""Time for accepting connections in one iteration of the event loop."""

BUSY_ACCEPT_SECONDS = 0.0005
"""The same in an overload. More would only move clients that connect again and again from the kernel's queue here."""

OPEN_SECONDS = 0.0001
"""Part of this time that a connection is charged for, since it is opened after that."""

TEND_SECONDS = 0.005
"""Interval in which connections of the lobby are opened or refused."""

OPENING_SECONDS = 0.0003
"""Time for that in each interval, while there is an overload."""

LINGER_SECONDS = 0.5
"""For how long refused connections stay open, so that their clients can read why."""

READ_BYTES = 64 * 1024

RETRY_SECONDS = 0.2
"""Pause when there are no file descriptors, which others than the connections may use."""

PAUSE_SECONDS = 0.005
"""For how long a worker with more connections than others leaves new ones to them."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger(__name__)


class AcceptPolicy(Protocol):
    """What is done with connections when there are too many requests or connections."""

    @property
    def is_overload(self) -> bool:
        """Whether more requests wait than usual: connections that their clients have closed are not opened then."""

    @property
    def longest_wait(self) -> float:
        """Time in seconds after which a request that waits is refused."""

    def refuse_connection(self) -> bytes:
        """Count a connection that is refused; return the bytes of the response."""

    def refuse_late(self, seconds: float) -> bytes:
        """Count a request that is refused after `seconds`; return the bytes of a response that closes."""

    def count_left(self, seconds: float) -> None:
        """Count a client that has left."""


class Guest(Protocol):
    """A protocol of a connection that may be one too many, or late.

    Attributes
    ----------
    waited_unread : float
        Time in seconds for which its first request has waited for the connection to be accepted.
    """

    waited_unread: float

    def limit_to_probes(self) -> None:
        """Answer one probe, or refuse one request, and close."""


class Intake:
    """Accepts the connections of a listening socket in an event loop.

    Parameters
    ----------
    listener : socket
        Remains open.
    make_protocol : callable
        Makes the protocol of a connection.
    count : callable
        Returns the number of open connections.
    most : int
        Maximum number of connections; see `service.wire.descriptors`.
    policy : AcceptPolicy
    spread : Spread
        Numbers of connections of all workers.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
        most: int,
        policy: AcceptPolicy,
        spread: Spread,
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._count = count
        self._most = most
        self._policy = policy
        self._spread = spread
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._refused: deque[socket.socket] = deque()
        self._lobby = Lobby()
        self._is_open = True
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self.report()
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more connections; those that wait are left to the other workers."""
        if self._is_open:
            self._is_open = False
            self._spread.report(CLOSED)
            self._loop.remove_reader(self._listener.fileno())
            now = perf_counter()
            for waiting in self._lobby.take_newest():
                self._take(waiting.connection, now - waiting.since)
            while self._refused:
                self._refused.popleft().close()

    def report(self) -> None:
        """Tell the other workers how many connections this one has."""
        if self._is_open:
            self._spread.report(self._count_all())

    def _count_all(self) -> int:
        return self._count() + len(self._opening) + len(self._lobby)

    def _accept(self) -> None:
        is_overload = self._policy.is_overload
        until = perf_counter() + (BUSY_ACCEPT_SECONDS if is_overload else ACCEPT_SECONDS)
        while perf_counter() < until:
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.warning("no file descriptors are left; accepting connections again in %g s", RETRY_SECONDS)
                self._pause(RETRY_SECONDS)
                return
            accepted.setblocking(False)
            if is_overload:
                until -= self._receive(accepted)
            else:
                until -= OPEN_SECONDS
                self._take(accepted, 0.0)
            if self._spread.is_ahead(self._count_all()):
                self._pause(PAUSE_SECONDS)
                return

    def _receive(self, accepted: socket.socket) -> float:
        """Take a connection in an overload; return the time in seconds that is left to be spent on it."""
        found = peek(accepted)
        if found is None:
            self._policy.count_left(0.0)
            accepted.close()
        elif not found.begins or found.begins.startswith(PROBES) or self._count_all() >= self._most:
            self._take(accepted, found.waited)
            return OPEN_SECONDS
        else:
            if not self._lobby:
                self._loop.call_later(TEND_SECONDS, self._tend_lobby)
            self._lobby.add(accepted, perf_counter() - found.waited)
        return 0.0

    def _tend_lobby(self) -> None:
        """Open or refuse connections of the lobby."""
        until = perf_counter() + (OPENING_SECONDS if self._policy.is_overload else ACCEPT_SECONDS)
        for waiting in self._lobby.take_newest():
            if (found := peek(waiting.connection)) is None:
                self._policy.count_left(perf_counter() - waiting.since)
                waiting.connection.close()
            else:
                until -= OPEN_SECONDS
                self._take(waiting.connection, found.waited)
            if perf_counter() >= until:
                break
        until = perf_counter() + OPENING_SECONDS
        for waiting in self._lobby.take_late(perf_counter() - self._policy.longest_wait):
            self._refuse_late(waiting.connection, perf_counter() - waiting.since)
            if perf_counter() >= until:
                break
        if self._lobby:
            self._loop.call_later(TEND_SECONDS, self._tend_lobby)

    def _refuse_late(self, connection: socket.socket, waited: float) -> None:
        if peek(connection) is None:
            self._policy.count_left(waited)
        else:
            with suppress(OSError):
                connection.recv(READ_BYTES)  # what is unread when it is closed would reset the connection
                connection.send(self._policy.refuse_late(waited))
        connection.close()

    def _take(self, accepted: socket.socket, waited: float) -> None:
        connections = self._count_all()
        if connections >= self._most + SPARE_CONNECTIONS:
            self._refuse(accepted)
            return
        make = partial(self._make, waited, is_guest=connections >= self._most)
        opening = self._loop.create_task(self._open(make, accepted))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, make: Callable[[], asyncio.Protocol], accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(make, accepted)
        except OSError:  # the client is gone already
            accepted.close()

    def _make(self, waited: float, *, is_guest: bool) -> asyncio.Protocol:
        protocol = self._make_protocol()
        guest = cast("Guest", protocol)
        if waited:
            guest.waited_unread = waited
        if is_guest:
            guest.limit_to_probes()
        return protocol

    def _refuse(self, accepted: socket.socket) -> None:
        """Send the refusal; closing at once would reset the connection when the client's request arrives."""
        with suppress(OSError):
            accepted.send(self._policy.refuse_connection())
            accepted.shutdown(socket.SHUT_WR)
        if len(self._refused) == MOST_REFUSED:
            self._refused.popleft().close()
        self._refused.append(accepted)
        self._loop.call_later(LINGER_SECONDS, accepted.close)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)
