"""Generate load on an HTTP server: a closed loop for throughput, a constant arrival rate for latencies.

Uses plain sockets in several processes, because an HTTP client library would cost more than the server. If `wrk` is
installed, it generates the closed loop with less CPU than Python.
"""

from __future__ import annotations

import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


SPIN_SECONDS = 1e-4
"""Seconds before an arrival in which a client spins instead of sleeping, so as not to be late."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

WRK_SCRIPT = """
local f = assert(io.open("{path}", "rb")); wrk.body = f:read("*a"); f:close()
wrk.method = "POST"; wrk.headers["Content-Type"] = "{media_type}"
function done(s, l, r)
  local e = s.errors
  local bad = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format("\\nRESULT %d %d %d %d %d\\n", s.requests, s.duration, bad,
    l:percentile(50), l:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Port, path and body of the requests."""

    port: int
    path: str
    body: bytes
    media_type: str = "application/json"

    def request(self) -> bytes:
        """Return the bytes of the request."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {self.media_type}\r\n"
        return f"{head}Content-Length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a load."""

    requests: int
    seconds: float
    errors: int
    client_cpu: float
    """CPU seconds of the clients."""
    p50: float
    """In milliseconds, like `p99`."""
    p99: float

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class _Connection:
    """A keep-alive connection with at most one request in flight."""

    def __init__(self, target: Target) -> None:
        self.socket = socket.create_connection(("127.0.0.1", target.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = target.request()
        self._head, self._missing, self.due, self.is_fine = b"", -1, 0.0, True

    def send(self, due: float) -> None:
        self.due, self._head, self._missing = due, b"", -1
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Read available data; return whether the response is complete."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed a connection")
        if self._missing < 0:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            found = _LENGTH.search(self._head, 0, end)
            self.is_fine = self._head.startswith(b"HTTP/1.1 200") and found is not None
            self._missing = end + 4 + (int(found[1]) if found else 0) - len(self._head)
        else:
            self._missing -= len(data)
        return self._missing == 0


class _Fleet:
    """The connections of one process and their results."""

    def __init__(self, target: Target, connections: int) -> None:
        self.all = {connection.socket: connection for connection in (_Connection(target) for _ in range(connections))}
        self.free = set(self.all.values())
        self.latencies: list[float] = []
        self.errors = 0

    def send(self, due: float) -> None:
        """Send a request that was due at time `due` on a free connection."""
        self.free.pop().send(due)

    def collect(self, timeout: float) -> None:
        """Wait for responses, at most `timeout` seconds."""
        busy = [found for found, connection in self.all.items() if connection not in self.free]
        for found in select.select(busy, [], [], timeout)[0]:
            connection = self.all[found]
            if connection.receive():
                self.latencies.append(time.perf_counter() - connection.due)
                self.errors += not connection.is_fine
                self.free.add(connection)

    def finish(self) -> None:
        """Wait for requests in flight, and close the connections."""
        while len(self.free) < len(self.all):
            self.collect(1.0)
        for found in self.all:
            found.close()


def drive(
    target: Target, connections: int, seconds: float, rate: float | None, start_at: float
) -> tuple[list[float], int, float]:
    """Generate load from this process.

    Parameters
    ----------
    rate : float or None
        Arrivals per second; the latency includes waiting for a free connection. None for a closed loop.
    start_at : float
        Start time from `time.monotonic`, so that several processes start together.

    Returns
    -------
    latencies : list of float
    errors : int
    cpu : float
        CPU seconds of this process.
    """
    fleet = _Fleet(target, connections)
    time.sleep(max(0.0, start_at - time.monotonic()))
    cpu = time.process_time()
    if rate is None:
        _keep_busy(fleet, seconds)
    else:
        _keep_pace(fleet, seconds, rate)
    fleet.finish()
    return fleet.latencies, fleet.errors, time.process_time() - cpu


def _keep_busy(fleet: _Fleet, seconds: float) -> None:
    """Send on every connection as soon as it is free."""
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        while fleet.free:
            fleet.send(now)
        fleet.collect(0.05)


def _keep_pace(fleet: _Fleet, seconds: float, rate: float) -> None:
    """Send requests at a constant rate, independently of the server."""
    begin = time.perf_counter()
    sent, arrivals = 0, int(seconds * rate)
    while sent < arrivals:
        due = begin + sent / rate
        early = due - time.perf_counter()
        if early <= 0 and fleet.free:
            fleet.send(due)
            sent += 1
        else:
            fleet.collect(max(0.0, early - SPIN_SECONDS) if early > 0 else 1.0)


class Clients:
    """A pool of client processes.

    Parameters
    ----------
    processes : int
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"))

    def __enter__(self) -> Clients:
        """Start the processes."""
        list(self._pool.map(time.sleep, [0.5] * self._processes))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the processes."""
        self._pool.shutdown()

    def run(self, target: Target, connections: int, seconds: float, rate: float | None = None) -> Load:
        """Generate load from all processes together."""
        shares = _divide(connections, self._processes)
        start_at = time.monotonic() + 0.2
        running = [
            self._pool.submit(drive, target, share, seconds, rate * share / connections if rate else None, start_at)
            for share in shares
        ]
        latencies, errors, cpu = zip(*(found.result() for found in running), strict=True)
        merged = np.concatenate([np.array(found) for found in latencies])
        p50, p99 = (np.percentile(merged, [50, 99]) * 1000).tolist()
        return Load(len(merged), seconds, sum(errors), sum(cpu), p50, p99)


def run_wrk(target: Target, connections: int, seconds: float) -> Load:
    """Generate a closed loop with wrk."""
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "post.lua")
        body.write_bytes(target.body)
        script.write_text(WRK_SCRIPT.format(path=body, media_type=target.media_type))
        address = f"http://127.0.0.1:{target.port}{target.path}"
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "30s",
            "-s",
            str(script),
            address,
        ]
        before = _children_cpu()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)  # noqa: S603
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk reported no requests: {done.stdout}{done.stderr}")
    requests, microseconds, errors, p50, p99 = map(int, found.groups())
    return Load(requests, microseconds / 1e6, errors, _children_cpu() - before, p50 / 1000, p99 / 1000)


def has_wrk() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


def _children_cpu() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _divide(whole: int, parts: int) -> Sequence[int]:
    return [share for share in (whole // parts + (i < whole % parts) for i in range(parts)) if share]
