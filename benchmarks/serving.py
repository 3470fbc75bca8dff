"""Measure the service over HTTP, with ratios to the limit of its framework measured in the same run.

``python benchmarks/serving.py --models models`` takes about five minutes, ``--quick`` one. All servers are started
with one worker each. They alternate for each load, with the limit (benchmarks/limit_app.py) before and after each
round, so that load on the machine affects all equally. Figures are medians of the rounds; ratios are medians of the
ratios of a round to the limit's runs before and after it. ``--peers ../shared/peers`` adds the installed peers of that
harness. CPU and memory of servers and clients are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from load import Clients, Load, Target, has_wrk, run_wrk
from servers import BIN, Running, Server, find_peers, launch, limit, measure_cpu, measure_machine, measure_memory, ours
from serving_report import Point, describe, draw, write_table

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.contracts import make_example

if TYPE_CHECKING:
    from churn.schema import Schema


POINTS = (
    Point("lone", "one customer, 1 connection, back to back", 1, 1),
    Point("calm", "one customer, 1 connection, 200 arrivals/s", 1, 1, rate=200),
    Point("one", "one customer, 32 connections", 1, 32),
    Point("paced", "one customer, 32 connections, half of the limit's rate", 1, 32, share=0.5),
    Point("b100", "batches of 100, 4 connections", 100, 4),
    Point("b1000", "batches of 1,000, 4 connections", 1_000, 4),
    Point("b10000", "batches of 10,000, 4 connections", 10_000, 4),
)


def draw_customers(schema: Schema, count: int) -> list[dict[str, Any]]:
    """Draw customers with values in the range of the training data."""
    generator = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {}
    for feature in schema.features:
        low = 0.0 if feature.trained_minimum is None else feature.trained_minimum
        high = 1.0 if feature.trained_maximum is None else feature.trained_maximum
        if feature.kind == "category":
            columns[feature.name] = generator.choice(list(feature.categories), count).tolist()
        elif feature.kind == "number":
            columns[feature.name] = generator.uniform(low, high, count).round(2).clip(low, high).tolist()
        else:
            bounds = (0, 1) if feature.kind == "flag" else (int(low), int(high))
            columns[feature.name] = generator.integers(*bounds, count, endpoint=True).tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class Bench:
    """Running servers and the results of their loads.

    Parameters
    ----------
    running : dict of Server to Running
        The limit first.
    customers : list of dict
    clients : Clients
    options : argparse.Namespace
    """

    def __init__(
        self,
        running: dict[Server, Running],
        customers: list[dict[str, Any]],
        clients: Clients,
        options: argparse.Namespace,
    ) -> None:
        self._running = running
        self._customers = customers
        self._clients = clients
        self._options = options
        self.figures: dict[str, dict[str, list[dict[str, Any]]]] = {server.name: {} for server in running}

    def measure(self, point: Point, before: Point | None) -> None:
        """Load the servers in turn, and the limit once more at the end."""
        servers = list(self._running)
        for server in [*servers * self._options.rounds, servers[0]]:
            rate = point.rate
            if point.share and before is not None:
                reached = self.figures[servers[0].name][before.key]
                rate = point.share * float(np.median([one["per_second"] for one in reached]))
            found = self._load(server, point, rate)
            self.figures[server.name].setdefault(point.key, []).append(found)
            print(f"{point.words}: {server.name}: {describe(found)}", flush=True)

    def _load(self, server: Server, point: Point, rate: float | None) -> dict[str, Any]:
        pid, port = self._running[server].pid, self._running[server].port
        body = json.dumps(server.wire(self._customers[: point.customers])).encode()
        target = Target(port, server.path if point.customers == 1 else server.batch_path, body)
        self._clients.run(target, point.connections, self._options.seconds / 4)  # warm
        cpu, machine = measure_cpu(pid), measure_machine()
        if rate is None and self._options.wrk:
            load = run_wrk(target, point.connections, self._options.seconds)
        else:
            load = self._clients.run(target, point.connections, self._options.seconds, rate)
        return _summarise(point, load, rate, measure_cpu(pid) - cpu, measure_machine() - machine)


def _summarise(point: Point, load: Load, rate: float | None, server_cpu: float, busy: float) -> dict[str, Any]:
    """Return the figures of one load, with CPU in cores."""
    return {
        "per_second": load.per_second,
        "rows": load.per_second * point.customers,
        "rows_per_cpu": load.requests * point.customers / server_cpu,
        "rate": rate,
        "p50": load.p50,
        "p99": load.p99,
        "errors": load.errors,
        "server_cpu": server_cpu / load.seconds,
        "client_cpu": load.client_cpu / load.seconds,
        "others_cpu": max(0.0, busy - server_cpu - load.client_cpu) / load.seconds,
    }


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    keys = ",".join(point.key for point in POINTS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--engines", default="onnx,tensorflow", help="engines of churn, separated by commas")
    parser.add_argument(
        "--bin", type=Path, default=BIN, help="folder of the command churn for ONNX Runtime, such as .venv/serve/bin"
    )
    parser.add_argument("--points", default=keys, help=f"loads, separated by commas: {keys}")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds per load")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per load")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    parser.add_argument("--clients", type=int, default=2, help="client processes for constant arrivals")
    parser.add_argument("--no-wrk", dest="wrk", action="store_false", help="use Python clients for the closed loop")
    parser.add_argument(
        "--peers", type=Path, default=os.environ.get("CHURN_PEERS"), help="folder of a harness of peers"
    )
    parser.add_argument("--peer-names", default="raw_ort,raw_numpy,ort,naive", help="peers, separated by commas")
    parser.add_argument("--output", type=Path, default=Path("build/serving"), help="folder for table and plot")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 1.0, 1
    wanted = options.points.split(",")
    if unknown := set(wanted) - {point.key for point in POINTS}:
        parser.error(f"unknown loads: {', '.join(sorted(unknown))}; allowed: {keys}")
    options.points = [point for point in POINTS if point.key in wanted]
    if any(point.share for point in options.points) and "one" not in wanted:
        parser.error("paced needs one, whose throughput it halves")
    options.wrk = options.wrk and has_wrk()
    return options


def main() -> None:
    """Measure, print and write."""
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    schema = read_bundle(Registry(options.models).current_folder()).manifest.schema
    customers = [make_example(schema), *draw_customers(schema, max(point.customers for point in options.points))]
    servers = [
        limit(options.models),
        *(
            ours(engine, options.models, folder=options.bin if engine == "onnx" else BIN)
            for engine in options.engines.split(",")
            if engine
        ),
    ]
    if options.peers:
        servers += find_peers(Path(options.peers), options.peer_names.split(","))
    tool = "wrk" if options.wrk else f"{options.clients} Python processes"
    print(f"closed loop by {tool}, constant arrivals by {options.clients} Python processes, {options.seconds:g} s each")
    facts: dict[str, dict[str, float]] = {}
    with contextlib.ExitStack() as stack:
        running = {}
        for server in servers:
            log = options.output / f"{server.name.replace(', ', '-')}.log"
            running[server] = stack.enter_context(launch(server, customers[:1], log))
            facts[server.name] = {"ready": running[server].ready_seconds}
            facts[server.name]["fresh_rss"], _ = measure_memory(running[server].pid)
            print(f"{server.name}: first response after {running[server].ready_seconds:.2f} s", flush=True)
        bench = Bench(running, customers, stack.enter_context(Clients(options.clients)), options)
        before = None
        for point in options.points:
            bench.measure(point, before)
            before = point
        for server in servers:
            facts[server.name]["rss"], facts[server.name]["pss"] = measure_memory(running[server].pid)
    table = write_table(bench.figures, facts, options.points)
    (options.output / "serving.md").write_text(table)
    (options.output / "serving.json").write_text(json.dumps({"figures": bench.figures, "facts": facts}, indent=1))
    draw(bench.figures, options.points, options.output / "serving.svg")
    print(f"\n{table}\nwritten: {options.output}/serving.md, .json, .svg, .png")


if __name__ == "__main__":
    main()
