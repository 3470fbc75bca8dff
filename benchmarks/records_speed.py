"""Measure what records cost: requests/s and p99 at 32 connections without them, behind and durable, in both databases.

``python benchmarks/records_speed.py`` takes about two minutes; it needs wrk, and PostgreSQL for its rows. Services with
one worker each alternate under the same load of single customers with changing identifiers, so that load on the
machine affects all equally; ratios are medians of the rounds' ratios to the service without records. After each load
the service has time to commit the rest, and the records are counted: every answer must have one. The disk's time for a
flush is measured before and after, since durable answers wait for one. The CPU time of scoring is that of the service
without its writers: on a machine with more CPUs than the load needs, the writers have one of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from servers import Server, launch, measure_cpu, ours

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.contracts import make_example

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
-- Made before the load, so that making them takes no time from the service.
local prepared, number = {{}}, 0
init = function()
  for count = 1, {prepared} do
    local customer = 15000000 + (({seed} + count) * 7919) % 10000000
    prepared[count] = wrk.format(nil, "/predict", nil, '{{"CustomerId": ' .. customer .. '{rest}')
  end
end
request = function()
  number = number % {prepared} + 1
  return prepared[number]
end
done = function(summary, latency, requests)
  local e = summary.errors
  local bad = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99)))
end
"""


WRITER = "records.writer"
"""In the command line of a writer's process."""

PREPARED = 50_000
"""Number of different customers in a load; more records than that have customers that were recorded before."""


class Load(NamedTuple):
    """What wrk found: requests per second, errors, and milliseconds."""

    requests: int
    per_second: float
    errors: int
    p50: float
    p99: float


def drive(port: int, customer: dict[str, Any], connections: int, seconds: float, seed: int) -> Load:
    """Generate a closed loop of single customers."""
    rest = ", " + json.dumps(customer)[1:]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT.format(seed=seed, rest=rest, prepared=PREPARED))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "30s", "-s", script.name]
        done = subprocess.run(  # noqa: S603
            [*command, f"http://127.0.0.1:{port}/predict"], capture_output=True, text=True, check=True
        )
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk reported no requests: {done.stdout}{done.stderr}")
    requests, microseconds, errors, p50, p99 = map(int, found.groups())
    return Load(requests, requests / microseconds * 1e6, errors, p50 / 1000, p99 / 1000)


def read_metrics(port: int) -> dict[str, float]:
    """Scrape; return each series' value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def count_records(port: int) -> dict[str, float]:
    """Return the records by what became of them."""
    states = ("committed", "spilled", "lost", "refused")
    metrics = read_metrics(port)
    found = {state: metrics[f'churn_records_total{{state="{state}"}}'] for state in states}
    return found | {"waiting": metrics["churn_records_waiting"], "loaded": metrics["churn_records_loaded_total"]}


def wait_until_kept(port: int, seconds: float = 60) -> dict[str, float]:
    """Return the counts of records once nothing waits."""
    end = time.monotonic() + seconds
    while (found := count_records(port))["waiting"] or found["loaded"] < found["spilled"]:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return found


def measure_flush(folder: Path) -> float:
    """Return the median milliseconds that writing 16 KiB and flushing them to the disk takes."""
    path, times = folder / "flush", []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    for _ in range(50):
        started = time.perf_counter()
        os.write(descriptor, bytes(16 * 1024))
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started)
    os.close(descriptor)
    path.unlink()
    return float(np.median(times)) * 1000


@contextlib.contextmanager
def list_stores(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the URL of a store for each name."""
    urls = {f"{mode} SQLite": f"sqlite:///{folder / f'{mode}.db'}" for mode in ("behind", "durable")}
    if why_not := postgresql.why_not():
        sys.stdout.write(f"without PostgreSQL: {why_not}\n")
        yield urls
        return
    with postgresql.run_postgresql(has_fsync=True) as server, contextlib.ExitStack() as stack:
        other = stack.enter_context(postgresql.run_postgresql(has_fsync=True))
        yield urls | {"behind PostgreSQL": server, "durable PostgreSQL": other}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds per load")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="folder of the stores, on the disk to measure")
    options = parser.parse_args()
    customer: dict[str, Any] = dict(
        make_example(read_bundle(Registry(options.models).current_folder()).manifest.schema)
    )
    customer.pop("CustomerId", None)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        stores = stack.enter_context(list_stores(folder))
        plain = ours("onnx", options.models)
        servers = {"without records": plain}
        for name, url in stores.items():
            variables = {"CHURN_RECORDS": url, "CHURN_RECORDS_MODE": name.split()[0]}
            servers[name] = Server(name, plain.command, {**plain.environment, **variables})
        flush = measure_flush(folder)
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        scoring: dict[str, list[float]] = {name: [] for name in servers}
        writing: dict[str, list[float]] = {name: [] for name in servers}
        running = {
            name: stack.enter_context(launch(server, [customer], folder / f"{name}.log"))
            for name, server in servers.items()
        }
        missing = dict.fromkeys(servers, 0.0)
        for turn in range(options.rounds + 1):
            for name, one in running.items():
                before, spent, written = count_records(one.port), measure_cpu(one.pid), measure_cpu(one.pid, WRITER)
                load = drive(one.port, customer, options.connections, options.seconds, seed=turn * PREPARED)
                after = wait_until_kept(one.port)
                if turn:  # the first warms
                    loads[name].append(load)
                    microseconds = (measure_cpu(one.pid, WRITER) - written) / load.requests * 1e6
                    writing[name].append(microseconds)
                    scoring[name].append((measure_cpu(one.pid) - spent) / load.requests * 1e6 - microseconds)
                if name != "without records":
                    kept = sum(after[state] - before[state] for state in ("committed", "loaded"))
                    missing[name] += load.requests - load.errors - kept
        flush = max(flush, measure_flush(folder))
    sys.stdout.write(f"a flush to the disk: {flush:.2f} ms\n\n")
    sys.stdout.write(
        "| | requests/s | ratio | p50 ms | p99 ms | CPU µs/request: scoring | ratio | writer "
        "| errors | answers without record |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|---|---|---|\n")
    base = np.array([load.per_second for load in loads["without records"]])
    for name, found in loads.items():
        rates = np.array([load.per_second for load in found])
        p50, p99 = (np.median([getattr(load, kind) for load in found]) for kind in ("p50", "p99"))
        sys.stdout.write(
            f"| {name} | {np.median(rates):,.0f} | {np.median(rates / base):.2f} | {p50:.2f} | {p99:.2f} | "
            f"{np.median(scoring[name]):.1f} | "
            f"{np.median(np.array(scoring['without records']) / scoring[name]):.2f} | "
            f"{np.median(writing[name]):.1f} | {sum(load.errors for load in found)} | {max(0, missing[name]):.0f} |\n"
        )


if __name__ == "__main__":
    main()
