"""Measure the parts of a request, for one customer and for batches.

``python benchmarks/parts.py --models models``. The parts are medians measured in this process. The total is the CPU
time of the service per request over loopback on one connection; the difference is HTTP, event loop and kernel. On 32
connections, requests share wake-ups and the call of the network. CPU time is used because load on the machine affects
it least. For comparison, a bare ASGI application that reads nothing and returns a constant is measured under the same
load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from load import Clients, Target, has_wrk, run_wrk
from servers import Server, launch, limit, measure_cpu, ours
from serving import draw_customers

from churn.bundle import read_bundle
from churn.registry import Registry
from churn.runtime.cpus import count_cpus
from service.observe.access_log import AccessLog
from service.oip.outputs import OUTPUTS, encode_answer
from service.oip.tensors import read_request
from service.predict.endpoint import PATH
from service.predict.parse import SingleRequest
from service.predict.scoring import score_batch, score_single
from service.rollout.loading import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.predict.served_model import ServedModel

SIZES = (1, 100, 1_000)
CONNECTIONS = (1, 32)
REST = "HTTP, event loop, kernel"
TOGETHER = 100
"""Number of requests that are counted and logged together, as under load."""

DATATYPES = {str: "BYTES", int: "INT64", float: "FP64"}


def time_call(call: Callable[[], object], seconds: float) -> float:
    """Return the median duration of a call in microseconds."""
    for _ in range(3):
        call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 10:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


async def time_parts(model: ServedModel, customers: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Return the microseconds of each part of `POST /predict`; a coroutine, because counting needs an event loop."""
    body = json.dumps({"customers": customers} if len(customers) > 1 else customers[0]).encode()
    scorer, recorder, request = model.scorer, model.recorder, model.parser.parse(body)
    parts: dict[str, Callable[[], object]] = {"parse and validate": lambda: model.parser.parse(body)}
    if isinstance(request, SingleRequest):
        row, matrix, probability = request.row, scorer.prepare_row(request.row), scorer.score_row(request.row)
        parts["preprocess"] = lambda: scorer.prepare_row(row)
        parts["inference"] = lambda: scorer.infer_row(matrix)
        parts["serialise"] = lambda: model.answers.encode_single(request, probability)
        scored: Any = score_single(model, request, 0.0, 0.0)[1]
        record = scored.record
    else:
        raw, matrix = request.raw, scorer.prepare(request.raw)
        probabilities = scorer.infer(matrix)
        parts["preprocess"] = lambda: scorer.prepare(raw)
        parts["inference"] = lambda: scorer.infer(matrix)
        parts["serialise"] = lambda: model.answers.encode_batch(request, probabilities)
        record = score_batch(model, request, body, 0.0, 0.0)[1].record
    found = {name: time_call(call, seconds) for name, call in parts.items()}
    found["count"] = time_call(partial(_repeat, record, recorder.flush), seconds) / TOGETHER
    with Path(os.devnull).open("wb") as sink:
        access = AccessLog("json", sink.fileno())
        log = partial(access.log, "0123456789ab-1", "POST", PATH, 200, 1e-4)
        found["access line"] = time_call(partial(_repeat, log, access.flush), seconds) / TOGETHER
    return found


def _repeat(call: Callable[[], object], end: Callable[[], object]) -> None:
    for _ in range(TOGETHER):
        call()
    end()


def time_open_inference(model: ServedModel, customers: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Return the microseconds of reading and writing tensors of the Open Inference Protocol, as JSON and binary."""
    schema, found = model.scorer.schema, {}
    for form in ("JSON", "binary"):
        body, size = encode_tensors(customers, binary=form == "binary")
        request = read_request(schema, body, size, len(customers))
        probabilities = model.scorer.score_raw(request.raw)
        decisions = model.scorer.decide(probabilities)
        reading = partial(read_request, schema, body, size, len(customers))
        outputs = dict.fromkeys(OUTPUTS, form == "binary")
        writing = partial(encode_answer, outputs, None, model.scorer.version, probabilities, decisions)
        found[f"read tensors, {form}"] = time_call(reading, seconds)
        found[f"write tensors, {form}"] = time_call(writing, seconds)
    return found


def encode_tensors(customers: list[dict[str, Any]], *, binary: bool) -> tuple[bytes, int | None]:
    """Return a request of the Open Inference Protocol, and the length of its JSON part if binary data follow."""
    inputs, tail = [], []
    for name in customers[0]:
        values = [customer[name] for customer in customers]
        sent: dict[str, Any] = {"name": name, "datatype": DATATYPES[type(values[0])], "shape": [len(values)]}
        if binary:
            texts = (value.encode() for value in values if isinstance(value, str))
            coded = b"".join(len(text).to_bytes(4, "little") + text for text in texts) or np.array(values).tobytes()
            tail.append(coded)
            sent["parameters"] = {"binary_data_size": len(coded)}
        else:
            sent["data"] = values
        inputs.append(sent)
    head = json.dumps({"inputs": inputs}).encode()
    return b"".join([head, *tail]), len(head) if binary else None


def measure_http(
    server: Server, customers: list[dict[str, Any]], clients: Clients, seconds: float
) -> dict[int, list[float]]:
    """Return the CPU microseconds of a server per request over loopback, by connections and size."""
    found: dict[int, list[float]] = {connections: [] for connections in CONNECTIONS}
    with tempfile.TemporaryDirectory() as folder, launch(server, customers[:1], Path(folder, "log")) as running:
        for size in SIZES:
            body = json.dumps(server.wire(customers[:size])).encode()
            target = Target(running.port, "/predict", body)
            for connections, costs in found.items():
                clients.run(target, connections, seconds / 4)
                before = measure_cpu(running.pid)
                load = run_wrk(target, connections, seconds) if has_wrk() else clients.run(target, connections, seconds)
                if load.errors:
                    raise RuntimeError(f"{server.name} returned {load.errors} errors")
                costs.append((measure_cpu(running.pid) - before) / load.requests * 1e6)
    return found


async def time_sizes(model: ServedModel, customers: list[dict[str, Any]], seconds: float) -> list[dict[str, float]]:
    """Return the parts by size."""
    return [await time_parts(model, customers[:size], seconds) for size in SIZES]


def print_table(title: str, columns: Sequence[dict[str, float]], whole: dict[int, list[float]] | None = None) -> None:
    """Print microseconds by part and size, with shares of the total on one connection if it is known."""
    print(f"\n| {title} | " + " | ".join(f"{size:,}" for size in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name in columns[0] if columns else ():
        values = [column[name] for column in columns]
        shares = [""] * len(values)
        if whole is not None:
            shares = [f" ({value / cpu:.0%})" for value, cpu in zip(values, whole[1], strict=True)]
        print(f"| {name} | " + " | ".join(f"{v:,.1f}{share}" for v, share in zip(values, shares, strict=True)) + " |")
    for connections, costs in (whole or {}).items():
        print(f"| **CPU over loopback, connections: {connections}** | " + " | ".join(f"{c:,.1f}" for c in costs) + " |")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--engines", default="onnx,tensorflow", help="engines, separated by commas")
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per part")
    options = parser.parse_args()
    customers = draw_customers(read_bundle(Registry(options.models).current_folder()).manifest.schema, max(SIZES))
    with Clients(1) as clients:
        bare = measure_http(limit(options.models, "bare"), customers, clients, options.seconds * 4)
        for engine in options.engines.split(","):
            whole = measure_http(ours(engine, options.models), customers, clients, options.seconds * 4)
            model = load_model(Registry(options.models).current_folder(), engine)
            columns = asyncio.run(time_sizes(model, customers, options.seconds))
            for column, cpu in zip(columns, whole[1], strict=True):
                column[REST] = max(0.0, cpu - sum(column.values()))
            print_table(f"POST /predict, {engine}, µs (part of the whole)", columns, whole)
    columns = [time_open_inference(model, customers[:size], options.seconds) for size in SIZES]
    print_table("Open Inference Protocol, µs", columns)
    print_table("a bare ASGI application, µs", [], bare)
    sys.stdout.write(f"\nload average while this ran: {os.getloadavg()[0]:.1f} on {count_cpus()} CPUs\n")


if __name__ == "__main__":
    main()
