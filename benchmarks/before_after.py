"""Compare this checkout with another one, side by side in one run: requests, tables over HTTP, and files.

``git worktree add ../before COMMIT``, ``make setup`` there, then ``python benchmarks/before_after.py ../before``. Both
services score with the same model, unless --models-before names another one for the other checkout, and alternate for
each load, so that load on the machine affects both equally.
Ratios are medians of the ratios of a round; above 1, this checkout is faster. Needs wrk; Linux only.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load import Target, run_wrk
from servers import BIN, Running, launch, measure_cpu, measure_memory, ours
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CSV = "text/csv"


def write_csv(customers: Sequence[dict[str, Any]]) -> bytes:
    """Return a table of customers."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(customers[0]))
    writer.writeheader()
    writer.writerows(customers)
    return text.getvalue().encode()


def measure_requests(running: Running, target: Target, connections: int, seconds: float) -> tuple[float, float]:
    """Return the wall time and the CPU time of the server per request, in seconds."""
    before = measure_cpu(running.pid)
    load = run_wrk(target, connections, seconds)
    if load.errors or not load.requests:
        raise SystemExit(f"{load.errors} requests to {target.path} failed")
    return 1 / load.per_second, (measure_cpu(running.pid) - before) / load.requests


def measure_file(churn: Path, table: Path, models: Path, output: Path) -> tuple[float, float]:
    """Return the wall time and the CPU time of `churn score`, in seconds."""
    command = [churn, "score", table, "--output", output, "--models", models, "--engine", "onnx"]
    command += ["--if-exists", "replace"]
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603  our own command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{churn} score failed")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def compare(name: str, ways: Sequence[Callable[[], tuple[float, float]]], rounds: int) -> None:
    """Measure both checkouts alternately, and print the figures and their ratios."""
    pairs = []
    for number in range(rounds):
        found = {which: ways[which]() for which in ((0, 1) if number % 2 == 0 else (1, 0))}
        pairs.append((found[0], found[1]))
    walls, cpus = ([[old[i], new[i]] for old, new in pairs] for i in (0, 1))
    sys.stdout.write(f"| {name} |")
    for unit in (walls, cpus):
        old, new = (statistics.median(pair[which] for pair in unit) * 1000 for which in (0, 1))
        sys.stdout.write(f" {old:.3f} | {new:.3f} | {statistics.median(a / b for a, b in unit):.3f} |")
    sys.stdout.write("\n")
    sys.stdout.flush()


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder of the other checkout, with its .venv/dev")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument(
        "--models-before", type=Path, help="folder of those of the other checkout, if it is another one"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="customers in a table")
    parser.add_argument("--rounds", type=int, default=7, help="rounds per load")
    parser.add_argument("--seconds", type=float, default=2, help="seconds per load")
    return parser.parse_args()


def main() -> None:
    """Compare and print a table."""
    options = read_options()
    schema = read_bundle(Registry(options.models).current_folder()).manifest.schema
    table = write_csv(draw_customers(schema, options.rows))
    loads = [
        (f"JSON, {count} per request, {connections} connections", "/predict", "application/json", count, connections)
        for count, connections in ((1, 32), (1, 1), (100, 4), (1000, 2))
    ]
    loads += [("CSV over HTTP", "/predict", CSV, 0, 1), ("… on_error=reject", "/predict?on_error=reject", CSV, 0, 1)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = (options.models_before or options.models, options.models)
        places = (options.before.absolute() / ".venv" / "dev" / "bin", BIN)
        first = draw_customers(schema, 1)
        services = [
            stack.enter_context(launch(ours("onnx", where, folder=place), first, folder / f"{number}.log"))
            for number, (place, where) in enumerate(zip(places, models, strict=True))
        ]
        sys.stdout.write("| load | wall before, ms | after | ratio | CPU before, ms | after | ratio |\n")
        sys.stdout.write("|---" * 7 + "|\n")
        for name, path, media_type, count, connections in loads:
            customers = draw_customers(schema, max(1, count))
            body = json.dumps(customers[0] if count == 1 else {"customers": customers}).encode() if count else table
            ways = [
                partial(measure_requests, one, Target(one.port, path, body, media_type), connections, options.seconds)
                for one in services
            ]
            compare(name, ways, options.rounds)
        memory = [measure_memory(service.pid)[0] for service in services]
        file = folder / "table.csv"
        file.write_bytes(table)
        ways = [
            partial(measure_file, place / "churn", file, where, folder / "scores.csv")
            for place, where in zip(places, models, strict=True)
        ]
        compare(f"churn score, {options.rows:,} rows", ways, options.rounds)
    sys.stdout.write(f"\nmemory of the services at the end, MB: {memory[0]:.0f} before, {memory[1]:.0f} after\n")


if __name__ == "__main__":
    main()
