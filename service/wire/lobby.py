"""Connections that are accepted but not opened yet in an overload: opening one costs more than scoring two customers.

Clients that are connected are served first. Otherwise, clients that leave because they have to wait, and connect again,
would take the time in which those that wait could be served. The newest connection is opened first, since its client
will wait longest; the others are refused when they have waited as long as a request may.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Arrival(NamedTuple):
    """An accepted connection, and since when its request has been waiting (`time.perf_counter`)."""

    connection: socket.socket
    since: float


class Lobby:
    """Accepted connections in the order of their arrival."""

    def __init__(self) -> None:
        self._arrivals: deque[Arrival] = deque()

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, connection: socket.socket, since: float) -> None:
        """Let a connection wait; its request has been waiting since `since`."""
        self._arrivals.append(Arrival(connection, since))

    def take_newest(self) -> Iterator[Arrival]:
        """Take out the connections, the newest first."""
        while self._arrivals:
            yield self._arrivals.pop()

    def take_late(self, latest: float) -> Iterator[Arrival]:
        """Take out the connections that have been waiting since before `latest`, the oldest first."""
        while self._arrivals and self._arrivals[0].since < latest:
            yield self._arrivals.popleft()
