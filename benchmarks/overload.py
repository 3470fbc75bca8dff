"""Measure the service under overload: more requests than it can score, with clients that wait and clients that leave.

``python benchmarks/overload.py`` takes about eight minutes, ``--quick`` two. C is the capacity of one worker: the rate
at which it answers when every one of 256 connections sends again as soon as it has its response. It is measured before
and after each load, because the speed of a shared machine may change by half within minutes; ``--repeat`` measures all
loads several times, and the table has medians. Requests arrive at constant rates of 0.7, 1, 2 and 4 C, on 256 and on
4,000 connections, from clients that wait for ever and from clients that close their connection after 250 ms and connect
again. After each load on 4,000 connections, a closed loop on as many shows what they cost without an overload.
Meanwhile /health/live (on an open connection), /health/ready (each on a new one) and /metrics are requested, on the
management port unless ``--same-port`` is given.
The service runs on one CPU and the load generator, `overload_client.c`, on the others. Only the loopback interface is
used. Needs Linux and a C compiler (``cc``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from load import Target
from servers import BIN, Server, find_free_port, launch, measure_cpu, measure_memory, ours
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from servers import Running

SHARES = (0.7, 1.0, 2.0, 4.0)
CONNECTIONS = (256, 4000)
PATIENCE = {"patient": 0.0, "impatient": 0.25}
SPARE_FILES = 200

HEADER = (
    "| connections | clients | offered | C | closed loop | sent | answered | within 250 ms | refused "
    "| refused after, ms (median, longest) | left | latency, ms (median, 99 %, longest) "
    "| live, ready, metrics: longest, ms | memory, MB |"
)


@dataclass(frozen=True)
class Round:
    """One load: its parameters, and what the generator reports.

    `capacity` and `closed` are requests per second: in closed loops of 256 connections, and of as many as the load has.
    """

    connections: int
    clients: str
    share: float
    capacity: float
    found: dict[str, Any]
    memory: float
    server_cpu: float
    closed: float = 0.0

    def rate(self, name: str) -> float:
        """Return the events per second."""
        return float(self.found[name]) / float(self.found["seconds"])

    def times(self, name: str) -> float:
        """Return the events per second as a multiple of the capacity."""
        return self.rate(name) / self.capacity


def compile_client(folder: Path) -> Path:
    """Compile the load generator."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit("a C compiler is needed: the command cc (Debian's package gcc)")
    binary = folder / "overload_client"
    source = Path(__file__).with_name("overload_client.c")
    subprocess.run([compiler, "-O2", "-o", binary, source], check=True)  # noqa: S603  our own source
    return binary


class Bench:
    """A running service and its load generator.

    Parameters
    ----------
    client : Path
        The load generator.
    request : Path
        File with the bytes of a request.
    running : Running
    cpus : set of int
        CPUs of the generator.
    options : argparse.Namespace
    """

    def __init__(
        self, client: Path, request: Path, running: Running, cpus: set[int], options: argparse.Namespace
    ) -> None:
        self._client = client
        self._request = request
        self._running = running
        self._cpus = cpus
        self._options = options
        self._probed = options.management_port or running.port

    def load(self, connections: int, clients: str, share: float, capacity: float) -> Round:
        """Generate one load; a share of 0 is a closed loop."""
        seconds, warm = self._options.seconds, self._options.seconds / 4
        patience = PATIENCE[clients]
        rate = share * capacity
        arguments = [self._running.port, connections, rate, warm, seconds, patience, self._request, self._probed]
        cpu = measure_cpu(self._running.pid)
        done = subprocess.run(  # noqa: S603  our own command
            [self._client, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=seconds + warm + 60,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cpus),
        )
        if done.returncode:
            raise SystemExit(f"the load generator failed: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        used = (measure_cpu(self._running.pid) - cpu) / (seconds + warm)
        return Round(connections, clients, share, capacity, found, measure_memory(self._running.pid)[0], used)

    def measure_closed(self, connections: int) -> float:
        """Return the requests per second of a closed loop."""
        one = self.load(connections, "patient", 0.0, 1.0)
        print(f"closed loop, {connections} connections: {describe(one)}", flush=True)
        return one.rate("answered")

    def measure(self) -> Iterator[Round]:
        """Yield the results of all loads."""
        base = self._options.capacity_connections
        capacity = self.measure_closed(base)
        for connections, clients, share in product(self._options.connections, PATIENCE, self._options.shares):
            one = self.load(connections, clients, share, capacity)
            print(f"{connections} connections, {clients}, {share:g} C: {describe(one)}", flush=True)
            closed = None if connections == base else self.measure_closed(connections)
            after = self.measure_closed(base)
            mean = (capacity + after) / 2
            yield replace(one, capacity=mean, closed=mean if closed is None else closed)
            capacity = after


def describe(one: Round) -> str:
    """Return the result of a load in one line."""
    parts = [
        f"{name} {one.rate(name):,.0f}/s" for name in ("sent", "good", "late", "refused", "left", "unsent", "skipped")
    ]
    return f"{', '.join(parts)}; CPU: server {one.server_cpu:.2f}, generator {one.rate('cpu'):.2f}"


def format_row(rounds: Sequence[Round]) -> str:
    """Return a row of the table, of one load that was repeated; rates are shares of the capacity."""

    def middle(find: Callable[[Round], float]) -> float:
        return median(map(find, rounds))

    def times(name: str) -> float:
        return middle(lambda one: one.times(name))

    def read(name: str, place: int) -> float:
        return middle(lambda one: float(one.found[name][place]))

    def longest(place: int) -> float:
        return float(max(one.found["probes"][place]["longest_ms"] for one in rounds))

    one = rounds[0]
    latency = ", ".join(f"{read('answered_ms', place):.{digits}f}" for place, digits in enumerate((1, 1, 0)))
    refused = "-" if not times("refused") else f"{read('refused_ms', 0):.0f}, {read('refused_ms', 2):.0f}"
    cells = [
        f"{one.connections:,}",
        one.clients,
        f"{one.share:g} C",
        f"{middle(lambda one: one.capacity):,.0f}",
        f"{middle(lambda one: one.closed / one.capacity):.2f}",
        *(f"{times(name):.2f}" for name in ("sent", "answered", "good", "refused")),
        refused,
        f"{times('left'):.2f}",
        latency,
        ", ".join(f"{longest(place):.0f}" for place in range(len(one.found["probes"]))),
        f"{middle(lambda one: one.memory):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def judge(loads: Sequence[Sequence[Round]]) -> list[str]:
    """Return what the service is held to, and what was found."""
    lines = []
    for share, least in ((2.0, 0.9), (4.0, 0.85)):
        for rounds in loads:
            one = rounds[0]
            if (one.share, one.clients, one.connections) == (share, "impatient", max(CONNECTIONS)):
                good = median(one.times("good") for one in rounds)
                closed = median(one.rate("good") / one.closed for one in rounds)
                lines.append(
                    f"goodput at {share:g} C: {good:.2f} C (at least {least} C), "
                    f"{closed:.2f} of a closed loop of as many connections"
                )
    probes = [probe for rounds in loads for one in rounds for probe in one.found["probes"]]
    longest = max((probe["longest_ms"] for probe in probes), default=0.0)
    failed = sum(probe["failed"] + probe["hangs"] for probe in probes)
    lines.append(f"probes: longest {longest:.0f} ms (at most 50 ms), failed or unanswered: {failed}")
    skipped = max((one.times("skipped") / one.share for rounds in loads for one in rounds), default=0.0)
    lines.append(f"the generator could not send up to {skipped:.1%} of the arrivals of a load in time")
    return lines


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--quick", action="store_true", help="shorter loads")
    parser.add_argument(
        "--seconds", type=float, help="seconds per load, after a quarter to warm up; default 8, quick 2"
    )
    parser.add_argument(
        "--capacity-connections", type=int, default=min(CONNECTIONS), help="on which the capacity is measured"
    )
    parser.add_argument("--repeat", type=int, default=1, help="how often all loads are measured")
    parser.add_argument("--shares", type=lambda text: tuple(map(float, text.split(","))), default=SHARES)
    parser.add_argument("--connections", type=lambda text: tuple(map(int, text.split(","))), default=CONNECTIONS)
    parser.add_argument("--bin", type=Path, default=BIN, help="folder of the command churn, e.g. of another checkout")
    parser.add_argument(
        "--same-port", action="store_true", help="probe the port of the service, not the management port"
    )
    options = parser.parse_args()
    options.management_port = 0 if options.same_port else find_free_port()
    options.seconds = options.seconds or (2 if options.quick else 8)
    return options


def main() -> None:
    """Measure and print the table."""
    options = read_options()
    files = max(options.connections) + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SystemExit(f"{files} open files are needed (ulimit -n); allowed: {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    customers = draw_customers(read_bundle(Registry(options.models).current_folder()).manifest.schema, 1)
    cpus = sorted(os.sched_getaffinity(0))
    server = ours("onnx", options.models.absolute(), folder=options.bin.absolute())
    environment = dict(server.environment)
    if options.management_port:
        environment["CHURN_MANAGEMENT_PORT"] = str(options.management_port)
    pinned = ["taskset", "-c", str(cpus[0])] if len(cpus) > 1 else []
    server = Server(server.name, [*pinned, *server.command], environment)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = compile_client(folder)
        request = folder / "request"
        with launch(server, customers, folder / "log") as running:
            request.write_bytes(Target(running.port, "/predict", json.dumps(customers[0]).encode()).request())
            bench = Bench(client, request, running, set(cpus[1:] or cpus), options)
            repeats = [list(bench.measure()) for _ in range(options.repeat)]
    loads = list(zip(*repeats, strict=True))
    sys.stdout.write("\nC in requests per second; closed loop, sent, answered, refused and left as multiples of C\n\n")
    sys.stdout.write("\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|"]) + "\n")
    sys.stdout.write("\n".join(map(format_row, loads)) + "\n\n")
    sys.stdout.write("\n".join(judge(loads)) + "\n")


if __name__ == "__main__":
    main()
