"""Clients that check every answer: it must be one of those that a known version gives, whole and with status 200."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

STOP_CHECK_SECONDS = 0.2
FAILED, WRONG = -1, -2
"""Codes of requests that failed, and of answers that no version gives."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a client process does.

    Attributes
    ----------
    port : int
    request : bytes
    answers : mapping of bytes to int
        The body that each version gives, with its number.
    connections : int
    rate : float or None
        Arrivals per second; None: each connection sends its next request when it has the answer.
    stop : str
        The process ends when this file exists.
    limit : float
        Maximum seconds.
    """

    port: int
    request: bytes
    answers: Mapping[bytes, int]
    connections: int
    rate: float | None
    stop: str
    limit: float


@dataclass(slots=True)
class Log:
    """Requests: when they ended, from `time.monotonic`; their seconds; the version that answered, or a code."""

    ended: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return them as arrays of shape (requests,)."""
        return np.array(self.ended), np.array(self.seconds), np.array(self.versions, dtype=np.int64)


class _Client:
    """Connections with at most one request in flight each; one that the server closes is opened again."""

    def __init__(self, job: Job, log: Log) -> None:
        self._job, self._log = job, log
        self._poll = select.epoll()
        self._due: dict[int, float] = {}
        self._data: dict[int, bytes] = {}
        self._sockets: dict[int, socket.socket] = {}
        self.free: list[int] = []
        for _ in range(job.connections):
            self._open()

    def _open(self) -> None:
        found = socket.create_connection(("127.0.0.1", self._job.port), timeout=30)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[found.fileno()] = found
        self._poll.register(found.fileno(), select.EPOLLIN)
        self.free.append(found.fileno())

    def send(self, due: float) -> None:
        """Send a request that was due at time `due`."""
        number = self.free.pop()
        self._due[number], self._data[number] = due, b""
        try:
            self._sockets[number].sendall(self._job.request)
        except OSError:
            self._end(number, FAILED, closes=True)

    @property
    def busy(self) -> int:
        """Number of requests in flight."""
        return len(self._due)

    def collect(self, timeout: float) -> None:
        """Read what arrives, for at most `timeout` seconds.

        Clients that spun until the next request is due would take the CPU time that the service is measured with.
        """
        if timeout:
            select.select([self._poll], [], [], timeout)  # an epoll of its own waits for whole milliseconds
        for number, _ in self._poll.poll(0):
            try:
                data = self._sockets[number].recv(1 << 16)
            except OSError:
                data = b""
            if number not in self._due:  # closed while idle, which loses nothing
                self.free.remove(number)
                self._replace(number)
            elif not data:
                self._end(number, FAILED, closes=True)
            else:
                self._read(number, data)

    def _read(self, number: int, data: bytes) -> None:
        data = self._data[number] = self._data[number] + data
        head, end, body = data.partition(b"\r\n\r\n")
        head = head.lower()
        length = head.find(b"content-length: ")
        if end and length >= 0 and len(body) >= int(head[length + 16 :].split(b"\r", 1)[0]):
            version = self._job.answers.get(body, WRONG) if head.startswith(b"http/1.1 200") else FAILED
            self._end(number, version, closes=b"connection: close" in head)

    def _end(self, number: int, version: int, *, closes: bool) -> None:
        now = time.monotonic()
        self._log.ended.append(now)
        self._log.seconds.append(now - self._due.pop(number))
        self._log.versions.append(version)
        if closes:
            self._replace(number)
        else:
            self.free.append(number)

    def _replace(self, number: int) -> None:
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        try:
            self._open()
        except OSError:
            now = time.monotonic()
            self._log.ended.append(now)
            self._log.seconds.append(0.0)
            self._log.versions.append(FAILED)


def run_client(job: Job) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Send requests until the file `stop` exists; return the arrays of `Log`."""
    log = Log()
    client = _Client(job, log)
    begin = time.monotonic()
    end, look, sent = begin + job.limit, begin, 0
    stop = Path(job.stop)
    while (now := time.monotonic()) < end:
        if now >= look:
            look = now + STOP_CHECK_SECONDS
            if stop.exists():
                break
        if job.rate is None:
            while client.free:
                client.send(now)
            client.collect(0.05)
            continue
        due = begin + sent / job.rate
        if now >= due and client.free:
            client.send(due)
            sent += 1
        else:
            client.collect(due - now if now < due else 0.05)
    until = time.monotonic() + 10
    while client.busy and time.monotonic() < until:
        client.collect(0.1)
    log.versions += [FAILED] * client.busy
    log.ended += [time.monotonic()] * client.busy
    log.seconds += [10.0] * client.busy
    return log.arrays()
