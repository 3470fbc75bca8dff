"""Compare tables over HTTP with batches of JSON: customers per second, memory, and latency of health checks.

``python benchmarks/bulk.py --rows 1000000``. One service with ONNX Runtime and one worker, one client at a time; JSON
in batches of 10,000 alternates with tables. The response of a table is read while it is sent. A health check is sent
fifty times per second meanwhile. Memory is the resident set of the worker: before the first table, peak, and at the
end. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from load import Clients, Target
from pyarrow import csv, ipc
from servers import launch, measure_cpu, measure_memory, ours
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry
from service.media_types import ARROW, CSV

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Running

BATCH = 10_000
HEALTH = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Figures:
    """Results of one method, with one entry per round."""

    rows: list[float] = field(default_factory=list)
    """Customers per second."""
    per_cpu: list[float] = field(default_factory=list)
    """Customers per CPU second of the server."""
    health: list[float] = field(default_factory=list)
    """Latencies of the health checks in milliseconds."""
    peak: float = 0.0
    """Peak resident memory in MB."""


def write_tables(folder: Path, customers: list[dict[str, Any]], rows: int) -> dict[str, Path]:
    """Write a table with `rows` rows that repeats the customers with different identifiers."""
    drawn = pa.Table.from_pylist(customers)
    table = pa.concat_tables([drawn] * -(-rows // len(customers))).slice(0, rows)
    table = table.append_column("CustomerId", pa.array(np.arange(15_000_000, 15_000_000 + rows)))
    paths = {"csv": folder / "customers.csv", "arrow": folder / "customers.arrow"}
    csv.write_csv(table, paths["csv"])
    with ipc.new_stream(paths["arrow"], table.schema) as writer:
        writer.write_table(table, max_chunksize=65_536)
    return paths


def send_table(port: int, path: Path, media_type: str, query: str) -> tuple[int, bool]:
    """Send a table and read the response meanwhile; return its size, and whether it is complete with status 200."""
    with socket.create_connection(("127.0.0.1", port)) as connection, path.open("rb") as file:
        head = f"POST /predict{query} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nConnection: close\r\n"
        connection.sendall(f"{head}Content-Length: {path.stat().st_size}\r\n\r\n".encode())
        sender = threading.Thread(target=connection.sendfile, args=(file,))
        sender.start()
        size, first, last = 0, b"", b""
        while data := connection.recv(1 << 20):
            size += len(data)
            first, last = first or data, (last + data)[-5:]
        sender.join()
    is_chunked = b"transfer-encoding: chunked" in first
    return size, first.startswith(b"HTTP/1.1 200") and (last == b"0\r\n\r\n" or not is_chunked)


@contextlib.contextmanager
def watch_health(port: int, found: list[float]) -> Iterator[None]:
    """Request `/health/ready` fifty times per second."""
    stop = threading.Event()

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while not stop.wait(0.02):
                started = time.perf_counter()
                connection.sendall(HEALTH)
                connection.recv(4096)
                found.append((time.perf_counter() - started) * 1000)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def measure_table(server: Running, path: Path, form: str, query: str, rows: int, figures: Figures) -> None:
    """Send a table once and measure it."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # resets the peak memory
    cpu, started = measure_cpu(server.pid), time.perf_counter()
    with watch_health(server.port, figures.health):
        _, is_well = send_table(server.port, path, CSV if form == "csv" else ARROW, query)
    if not is_well:
        raise RuntimeError(f"{form}{query}: the response is incomplete")
    figures.rows.append(rows / (time.perf_counter() - started))
    figures.per_cpu.append(rows / (measure_cpu(server.pid) - cpu))
    status = Path(f"/proc/{server.pid}/status").read_text()
    figures.peak = max(figures.peak, int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)


def measure_json(server: Running, body: bytes, clients: Clients, seconds: float, figures: Figures) -> None:
    """Send batches on two connections, so that the server is never idle."""
    cpu = measure_cpu(server.pid)
    with watch_health(server.port, figures.health):
        load = clients.run(Target(server.port, "/predict", body), 2, seconds)
    figures.rows.append(load.requests * BATCH / load.seconds)
    figures.per_cpu.append(load.requests * BATCH / (measure_cpu(server.pid) - cpu))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--rows", type=int, default=1_000_000, help="customers in a table")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of JSON per round")
    options = parser.parse_args()
    customers = draw_customers(read_bundle(Registry(options.models).current_folder()).manifest.schema, BATCH)
    ways = [(form, query) for form in ("csv", "arrow") for query in ("", "?on_error=reject")]
    names = {"": "JSON, batches of 10,000"} | {form + query: f"{form}{query}" for form, query in ways}
    figures = {name: Figures() for name in names}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths = write_tables(folder, customers, options.rows)
        clients = stack.enter_context(Clients(1))
        server = stack.enter_context(launch(ours("onnx", options.models), customers[:1], folder / "log"))
        body = json.dumps({"customers": customers}).encode()
        memory = {"ready": measure_memory(server.pid)[0]}
        measure_json(server, body, clients, 1.0, Figures())  # warm
        memory["after JSON"] = measure_memory(server.pid)[0]
        for _ in range(options.rounds):
            measure_json(server, body, clients, options.seconds, figures[""])
            for form, query in ways:
                measure_table(server, paths[form], form, query, options.rows, figures[form + query])
        memory["after all tables"] = measure_memory(server.pid)[0]
        sizes = {form: path.stat().st_size / 1e6 for form, path in paths.items()}
    print(f"{options.rows:,} customers: {', '.join(f'{form} {size:.0f} MB' for form, size in sizes.items())}\n")
    print("| | customers/s | … per CPU second | health check, ms: median | 99 % | maximum | peak memory, MB |")
    print("|---|---|---|---|---|---|---|")
    base = figures[""]
    for name, found in figures.items():
        ratios = [
            f"{np.median(mine):,.0f} ({np.median(np.divide(mine, theirs)):.2f})"
            for mine, theirs in ((found.rows, base.rows), (found.per_cpu, base.per_cpu))
        ]
        waits = [f"{wait:.1f}" for wait in (*np.percentile(found.health, [50, 99]), max(found.health))]
        print(f"| {names[name]} | {' | '.join(ratios + waits)} | {f'{found.peak:.0f}' if found.peak else ''} |")
    print(f"\nmemory, MB: {', '.join(f'{when} {size:.0f}' for when, size in memory.items())}")


if __name__ == "__main__":
    main()
