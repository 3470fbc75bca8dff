"""Measure what a refused request costs, as a share of a scored one, beside the least that a refusal can cost.

``python benchmarks/refusals.py [--before CHECKOUT]`` takes about two minutes. In each round, on kept connections
and one after the other: the service scores all requests; it refuses all but the first, as an overloaded worker does
(`refusing_service.py`); a protocol in Python, and a server in C, answer whatever arrives with the bytes of the refusal
(`refusing_server.c`). Shown is the CPU time of the server per request, system calls included, and its ratio to that of
a scored request of the same checkout; the least over the rounds is disturbed the least by others. With --before, the
service of another checkout is measured as well. Each server runs on one CPU and the clients, `overload_client.c`, on
the others. Needs Linux and a C compiler (``cc``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load import Target
from overload import compile_client
from servers import BIN, find_free_port, measure_cpu
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).with_name("refusing_service.py")
SCORED, REFUSED, LEAST, FLOOR = "score", "refuse", "least", "floor"
WARM_SECONDS = 0.3
PATIENCE_SECONDS = 1.0
"""Time after which clients leave; only a stall of the machine takes so long."""

START_SECONDS = 60


def compile_floor(folder: Path) -> Path:
    """Compile the server in C."""
    binary = folder / "refusing_server"
    source = Path(__file__).with_name("refusing_server.c")
    subprocess.run([shutil.which("cc") or "cc", "-O2", "-o", binary, source], check=True)  # noqa: S603  our own source
    return binary


@contextlib.contextmanager
def serve(command: list[str | Path], port: int, log: Path) -> Iterator[int]:
    """Run a server on the first CPU during the block; yield its process."""
    cpu = min(os.sched_getaffinity(0))
    with (
        log.open("wb") as out,
        subprocess.Popen(  # noqa: S603  our own commands
            command, stdout=out, stderr=out, preexec_fn=lambda: os.sched_setaffinity(0, {cpu})
        ) as process,
    ):
        try:
            until = time.monotonic() + START_SECONDS
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{command} did not start: {log.read_text()}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.kill()


def is_ready(port: int) -> bool:
    """Return whether a server answers a health check with any status but 503 of one that is not ready."""
    target = Target(port, "/health/ready", b"").request().replace(b"POST", b"GET")
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(target)
            answer = connection.recv(1 << 16)
    except OSError:
        return False
    return answer.startswith(b"HTTP/1.1 200") or b"urn:churn:overloaded" in answer


def measure(
    client: Path, request: Path, port: int, pid: int, probed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Send requests back to back; return what the clients report, with the share of a CPU that the server used.

    Their probes go to another port, since /metrics would cost as much as hundreds of refusals.
    """
    cpus = os.sched_getaffinity(0)
    others = cpus - {min(cpus)} or cpus
    arguments = [port, options.connections, 0, WARM_SECONDS, options.seconds, PATIENCE_SECONDS, request, probed]
    with subprocess.Popen(  # noqa: S603  our own command
        [client, *map(str, arguments)],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, others),
    ) as process:
        time.sleep(2 * WARM_SECONDS)  # within the part of the load that counts
        before, begun = measure_cpu(pid), time.perf_counter()
        time.sleep(options.seconds - 2 * WARM_SECONDS)
        used, took = measure_cpu(pid) - before, time.perf_counter() - begun
        out, _ = process.communicate(timeout=120)
    found: dict[str, Any] = json.loads(out)
    return found | {"cpu_share": used / took}


def find_costs(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the CPU microseconds per request of each server, without what it scored although it was to refuse."""
    costs = {}
    for name, one in sorted(found.items(), key=lambda item: not item[0].endswith(SCORED)):
        spent = one["cpu_share"] * one["seconds"] * 1e6
        if name.endswith(SCORED):
            costs[name] = spent / one["answered"]
        else:
            scored = costs.get(name.replace(REFUSED, SCORED), 0.0)
            costs[name] = (spent - scored * one["answered"]) / one["refused"]
    return costs


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--before", type=Path, help="folder of another checkout, with its .venv/dev")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds per load")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def main() -> None:
    """Measure and print a table."""
    options = read_options()
    checkouts = {"": BIN}
    if options.before is not None:
        checkouts["before: "] = options.before.absolute() / ".venv" / "dev" / "bin"
    customers = draw_customers(read_bundle(Registry(options.models).current_folder()).manifest.schema, 1)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        client = compile_client(folder)
        response = folder / "response"
        sys.path.insert(0, str(SERVICE.parent))
        from refusing_service import Least

        response.write_bytes(Least.response)
        commands: dict[str, list[str | Path]] = {
            f"{which}{way}": [place / "python", SERVICE, way]
            for which, place in checkouts.items()
            for way in (SCORED, REFUSED)
        }
        commands |= {LEAST: [BIN / "python", SERVICE, LEAST], FLOOR: [compile_floor(folder)]}
        running = {}
        for server, command in commands.items():
            port = find_free_port()
            last = response if server == FLOOR else options.models.absolute()
            log = folder / f"{server.replace(' ', '')}.log"
            running[server] = port, stack.enter_context(serve([*command, str(port), last], port, log))
            request = Target(port, "/predict", json.dumps(customers[0]).encode()).request()
            (folder / f"{port}").write_bytes(request)
        costs: dict[str, list[float]] = {server: [] for server in running}
        ratios: dict[str, list[float]] = {server: [] for server in running}
        probed = find_free_port()
        floor = [compile_floor(folder), str(probed), response]
        stack.enter_context(serve(floor, probed, folder / "probed.log"))
        for _ in range(options.rounds):
            found = {
                server: measure(client, folder / f"{port}", port, pid, probed, options)
                for server, (port, pid) in running.items()
            }
            for server, cost in find_costs(found).items():
                costs[server].append(cost)
            for server, cost in costs.items():
                scored = costs[server.replace(REFUSED, SCORED) if server.endswith(REFUSED) else SCORED]
                ratios[server].append(cost[-1] / scored[-1])
    print(f"{options.connections} connections, load average {os.getloadavg()[0]:.1f}\n")
    print("| server | CPU per request, us: least, median | of a scored request: of the least, median | in each round |")
    print("|---|---|---|---|")
    for server, cost in costs.items():
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios[server])
        least = min(cost) / min(costs[server.replace(REFUSED, SCORED) if server.endswith(REFUSED) else SCORED])
        print(
            f"| {server} | {min(cost):.2f}, {statistics.median(cost):.2f} "
            f"| {least:.2f}, {statistics.median(ratios[server]):.2f} | {each} |"
        )


if __name__ == "__main__":
    main()
