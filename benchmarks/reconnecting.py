"""Clients that keep sending requests and open another connection when theirs is closed, and their requests' outcomes.

A request is lost if its connection was established and ended, or was reset, without a complete response. A refused
connection is counted apart: the client knows that nothing was sent.
"""

from __future__ import annotations

import errno
import heapq
import re
import selectors
import socket
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

RETRY_SECONDS = 0.02
"""Pause after a refused connection."""

PATIENCE_SECONDS = 30.0
"""Time without a response after which a request counts as unanswered."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Outcome:
    """What became of the requests of one or several clients."""

    counts: Counter[str] = field(default_factory=Counter)
    """By outcome: the status of the response, "lost", "refused" or "unanswered"."""

    failures: list[tuple[float, str, float]] = field(default_factory=list)
    """Of each request without a response of status 200, except refused ones: time (`time.monotonic`), outcome, and when
    its connection was opened."""

    moments: array[float] = field(default_factory=lambda: array("d"))
    """When each answered request was answered (`time.monotonic`). Half an hour has tens of millions of them."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    """Their latencies in seconds."""

    versions: Counter[str] = field(default_factory=Counter)
    """Answered requests by model version."""

    def add(self, other: Outcome) -> None:
        """Add the outcome of another client."""
        self.counts += other.counts
        self.failures += other.failures
        self.moments += other.moments
        self.latencies += other.latencies
        self.versions += other.versions


class _Client:
    """One connection after the other, with at most one request in flight."""

    def __init__(self, fleet: _Fleet, *, is_brief: bool) -> None:
        self._fleet = fleet
        self._request = fleet.brief_request if is_brief else fleet.request
        self._socket: socket.socket | None = None
        self._is_connecting = False
        self._received = b""
        self.due = self.sent = self._opened_at = 0.0
        self.is_busy = False

    def send(self, due: float) -> None:
        """Send a request that was due at a time, on a new connection if necessary."""
        self.due, self.sent, self.is_busy, self._received = due, time.monotonic(), True, b""
        if self._socket is None:
            self._socket = socket.socket()
            self._socket.setblocking(False)
            self._is_connecting = True
            self._opened_at = self.sent
            found = self._socket.connect_ex(("127.0.0.1", self._fleet.port))
            if found not in (0, errno.EINPROGRESS):
                self._refuse()
                return
            self._fleet.watch(self._socket, self, selectors.EVENT_WRITE)
        else:
            self._write(self._socket)

    def _write(self, opened: socket.socket) -> None:
        try:
            opened.sendall(self._request)
        except OSError:
            self.fail("lost")

    def proceed(self, opened: socket.socket) -> None:
        """Continue when the socket is ready."""
        if self._is_connecting:
            self._is_connecting = False
            if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._refuse()
                return
            self._fleet.watch(opened, self, selectors.EVENT_READ)
            self._write(opened)
            return
        try:
            data = opened.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            if self.is_busy:
                self.fail("lost")
            else:
                self.close()  # an idle connection that the server has closed
            return
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        found_length = _LENGTH.search(self._received, 0, end) if end >= 0 else None
        if found_length and len(self._received) >= end + 4 + int(found_length[1]):
            self._finish(self._received[:end].lower(), self._received[end + 4 :])

    def _finish(self, head: bytes, body: bytes) -> None:
        now = time.monotonic()
        outcome = self._fleet.outcome
        status = head[9:12].decode()
        outcome.counts[status] += 1
        if status == "200":
            outcome.moments.append(now)
            outcome.latencies.append(now - self.due)
            outcome.versions[body.rpartition(b'"model_version":')[2].strip(b'"}').decode()] += 1
        else:
            outcome.failures.append((now, status, self._opened_at))
        self.is_busy = False
        if b"\r\nconnection: close" in head:
            self.close()
        self._fleet.free(self)

    def fail(self, outcome: str) -> None:
        """Give the request up."""
        self._fleet.outcome.counts[outcome] += 1
        self._fleet.outcome.failures.append((time.monotonic(), outcome, self._opened_at))
        self.is_busy = False
        self.close()
        self._fleet.free(self)

    def _refuse(self) -> None:
        self._fleet.outcome.counts["refused"] += 1
        self.is_busy = False
        self.close()
        self._fleet.free(self, RETRY_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._fleet.forget(self._socket)
            self._socket.close()
            self._socket = None


class _Fleet:
    """The clients of one process."""

    def __init__(self, port: int, body: bytes, clients: int, rate: float | None) -> None:
        self.port = port
        self.outcome = Outcome()
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        self.request = f"{head}\r\n".encode() + body
        self.brief_request = f"{head}Connection: close\r\n\r\n".encode() + body
        self._rate = rate
        self._arrived = 0
        self._selector = selectors.DefaultSelector()
        self._all = [_Client(self, is_brief=number % 4 == 0) for number in range(clients)]
        self._free = deque(self._all)
        self._later: list[tuple[float, int, _Client]] = []
        self._watched: dict[int, int] = {}

    def watch(self, opened: socket.socket, client: _Client, events: int) -> None:
        if opened.fileno() in self._watched:
            self._selector.modify(opened, events, client)
        else:
            self._selector.register(opened, events, client)
        self._watched[opened.fileno()] = events

    def forget(self, opened: socket.socket) -> None:
        if self._watched.pop(opened.fileno(), 0):
            self._selector.unregister(opened)

    def free(self, client: _Client, pause: float = 0.0) -> None:
        if pause:
            heapq.heappush(self._later, (time.monotonic() + pause, id(client), client))
        else:
            self._free.append(client)

    def run(self, stop: Connection) -> None:
        """Send requests until the parent says so, and wait for the responses."""
        begun = checked = time.monotonic()
        while not stop.poll():
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                self._free.append(heapq.heappop(self._later)[2])
            self._collect(self._send(begun, now))
            if now - checked > 1:
                checked = now
                self._give_up(now)
        while any(client.is_busy for client in self._all):
            self._collect(0.05)
            self._give_up(time.monotonic())
        for client in self._all:
            client.close()

    def _send(self, begun: float, now: float) -> float:
        """Send what is due; return the seconds until the next request is."""
        wait = max(0.0, self._later[0][0] - now) if self._later else 0.05
        if self._rate is None:
            for _ in range(len(self._free)):
                self._free.popleft().send(now)
            return wait
        while self._free and (due := begun + self._arrived / self._rate) <= now:
            self._free.popleft().send(due)
            self._arrived += 1
        return min(wait, max(0.0, begun + self._arrived / self._rate - now)) if self._free else wait

    def _collect(self, wait: float) -> None:
        for key, _ in self._selector.select(wait):
            key.data.proceed(key.fileobj)

    def _give_up(self, now: float) -> None:
        for client in self._all:
            if client.is_busy and now - client.sent > PATIENCE_SECONDS:
                client.fail("unanswered")


def _drive(pipe: Connection, port: int, body: bytes, clients: int, rate: float | None) -> None:
    fleet = _Fleet(port, body, clients, rate)
    pipe.send(None)
    fleet.run(pipe)
    pipe.send(fleet.outcome)


class Clients:
    """Clients in processes of their own, three in four of which keep their connections open.

    Parameters
    ----------
    port : int
    body : bytes
    clients : int
        Number of connections.
    rate : float, optional
        Requests per second, independently of the responses. By default each client sends when it has its response.
    processes : int
    """

    def __init__(self, port: int, body: bytes, clients: int, rate: float | None = None, processes: int = 2) -> None:
        context = get_context("spawn")
        self._running: list[tuple[Any, Any]] = []
        share = rate / processes if rate else None
        for _ in range(processes):
            ours, theirs = context.Pipe()
            arguments = theirs, port, body, clients // processes, share
            process = context.Process(target=_drive, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._running.append((process, ours))
        for _, pipe in self._running:
            pipe.recv()  # it has started

    def stop(self) -> Outcome:
        """Stop the clients, after their requests in flight, and return what became of all."""
        for _, pipe in self._running:
            pipe.send(None)
        outcome = Outcome()
        for process, pipe in self._running:
            outcome.add(pipe.recv())
            process.join()
        return outcome
