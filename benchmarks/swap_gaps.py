"""Find what a request waits for while the model of a service is changed, under a light load.

``python benchmarks/swap_gaps.py [--before CHECKOUT]`` takes two minutes. On one connection, a request is sent every
millisecond, or as soon as the one before it is answered. Versions of the same network are promoted in turn over HTTP.
Shown are, over all changes, the longest latency from each request for a change until a second after it was done, and
likewise of times of the same length without a change, which have the pauses of the machine. With --before, the service
of another checkout is changed in turn with this one. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from load import Target
from servers import BIN, find_free_port, launch, ours
from variants import publish_variants

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.contracts import make_example

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL = 0.001
TAIL_SECONDS = 1.2
"""Time after a change in which its end is felt: the model that was replaced is released after a second."""

SHIFTS = (0.0, 0.7)


class Probe(threading.Thread):
    """Sends a request every millisecond, and keeps when it was answered and after how many seconds."""

    def __init__(self, port: int, request: bytes) -> None:
        super().__init__(daemon=True)
        self._opened = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._is_stopped = False
        self.moments: list[float] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        """Send until stopped."""
        due = time.monotonic()
        while not self._is_stopped:
            begun = time.monotonic()
            self._opened.sendall(self._request)
            if not self._opened.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                raise SystemExit("a request of the probe was not answered with 200")
            ended = time.monotonic()
            self.moments.append(ended)
            self.seconds.append(ended - begun)
            due = max(due + INTERVAL, ended)
            time.sleep(max(0.0, due - ended))

    def stop(self) -> tuple[np.ndarray, np.ndarray]:
        """Stop; return moments and seconds."""
        self._is_stopped = True
        self.join()
        self._opened.close()
        return np.array(self.moments), np.array(self.seconds)


def promote(port: int, version: int) -> None:
    """Change the model over the management port, and wait until it is done."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", f"/admin/models/{version}/promote")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise SystemExit(f"the change failed: {answer.read().decode()}")


def measure(probe: Probe, change: Callable[[], None]) -> tuple[float, float, float]:
    """Make a change; return the longest latency around it and at a time without one, and the seconds it took."""
    begun = time.monotonic()
    change()
    done = time.monotonic()
    time.sleep(TAIL_SECONDS)
    middle = time.monotonic()
    time.sleep(middle - begun)
    ended = time.monotonic()
    moments, seconds = np.array(probe.moments[:]), np.array(probe.seconds[: len(probe.moments)])
    seconds = np.resize(seconds, len(moments))
    around, quiet = (seconds[(moments >= a) & (moments < b)] for a, b in ((begun, middle), (middle, ended)))
    return float(around.max(initial=0.0)), float(quiet.max(initial=0.0)), done - begun


def describe(name: str, found: list[tuple[float, float, float]]) -> str:
    """Return a row of the table, in milliseconds."""
    cells = []
    for values in list(zip(*found, strict=True))[:2]:
        quartiles = np.percentile(values, [25, 50, 75]) * 1000
        cells.append("{:.2f}, {:.2f}, {:.2f}; {:.1f}".format(*quartiles, max(values) * 1000))
    return f"| {name} | {' | '.join(cells)} | {statistics.median(seconds for *_, seconds in found):.2f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--before", type=Path, help="folder of another checkout, with its .venv/dev")
    parser.add_argument("--engine", choices=("onnx", "tensorflow"), default="onnx")
    parser.add_argument("--changes", type=int, default=20, help="changes of each service")
    options = parser.parse_args()
    source = Registry(options.models).current_folder()
    customer = make_example(read_bundle(source).manifest.schema)
    places = {"after": BIN}
    if options.before is not None:
        places = {"before": options.before.absolute() / ".venv" / "dev" / "bin", **places}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        services, found = {}, {}
        for place, folder in places.items():
            models = Path(name, place)
            versions = publish_variants(models, source, SHIFTS, with_keras=options.engine == "tensorflow")
            Registry(models).promote(versions[0])
            port = find_free_port()
            server = ours(options.engine, models, folder=folder)
            settings = {"CHURN_ADMIN": "true", "CHURN_ACCESS_LOG": "false", "CHURN_MANAGEMENT_PORT": str(port)}
            server = replace(server, environment={**server.environment, **settings})
            running = stack.enter_context(launch(server, [customer], Path(name, f"{place}.log")))
            services[place], found[place] = (running.port, port, versions), []
        for number in range(options.changes):
            for place, (port, management, versions) in services.items():
                probe = Probe(port, Target(port, "/predict", json.dumps(customer).encode()).request())
                probe.start()
                time.sleep(0.3)
                version = versions[(number + 1) % len(versions)]
                found[place].append(measure(probe, lambda: promote(management, version)))  # noqa: B023  called now
                probe.stop()
    print(f"{options.engine}, {options.changes} changes, load average {os.getloadavg()[0]:.1f}\n")
    print("| service | longest latency around a change, ms: quartiles; longest | without one | change takes, s |")
    print("|---|---|---|---|")
    for place, results in found.items():
        print(describe(place, results))


if __name__ == "__main__":
    main()
