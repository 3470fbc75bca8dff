"""Where a request's microseconds go, part by part, for one customer and for batches.

``python benchmarks/parts.py --models models``. The parts are timed in this process, in medians; what the HTTP server
takes is the CPU time that a bare ASGI application needs for a request of the same size, and the whole is the CPU time
that the service needs, both over loopback on 32 connections. CPU time, because others who use the machine change it
least. The whole is more than the sum by what the processor's caches lose between the parts of many connections.
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
from service.app import ChurnService
from service.open_inference import OUTPUTS, encode_answer, read_request
from service.parse import Lone
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.state import ServedModel

SIZES = (1, 100, 1_000)
DATATYPES = {str: "BYTES", int: "INT64", float: "FP64"}


def time_call(call: Callable[[], object], seconds: float) -> float:
    """Return the median of a call in microseconds."""
    for _ in range(3):
        call()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 10:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


def time_parts(
    app: ChurnService, model: ServedModel, customers: list[dict[str, Any]], seconds: float
) -> dict[str, float]:
    """Return the microseconds of each part of a request to `POST /predict`."""
    body = json.dumps({"customers": customers} if len(customers) > 1 else customers[0]).encode()
    scorer, request = model.scorer, model.parser.parse(body)
    parts: dict[str, Callable[[], object]] = {"parse and validate": lambda: model.parser.parse(body)}
    if isinstance(request, Lone):
        transform = scorer.manifest.preprocessor.make_row_transform()
        matrix = transform(request.row)
        probability = scorer.score_row(request.row)
        parts["preprocess"] = lambda: transform(request.row)
        parts["inference"] = lambda: scorer.engine.predict(matrix)
        parts["preprocess, inference, round"] = lambda: scorer.score_row(request.row)
        parts["serialise"] = lambda: model.answers.encode_lone(request, probability, leaves=False)
        parts["metrics"] = lambda: _count(app, lambda: app.metrics.count_customer(probability, leaves=False))
    else:
        matrix = scorer.manifest.preprocessor.transform(request.raw)
        probabilities = scorer.score_raw(request.raw)
        decisions = scorer.decide(probabilities)
        parts["preprocess"] = lambda: scorer.manifest.preprocessor.transform(request.raw)
        parts["inference"] = lambda: scorer.engine.predict(matrix)
        parts["preprocess, inference, round"] = lambda: scorer.decide(scorer.score_raw(request.raw))
        parts["serialise"] = lambda: model.answers.encode_batch(request, probabilities, decisions)
        parts["metrics"] = lambda: _count(app, lambda: app.metrics.count_customers(probabilities, decisions))
    found = {name: time_call(call, seconds) for name, call in parts.items()}
    both = found.pop("preprocess, inference, round")
    found["round, decide"] = max(0.0, both - found["preprocess"] - found["inference"])
    whole = time_whole(app, body, seconds)
    found["receive and send (ASGI), headers, limits"] = max(0.0, whole - sum(found.values()))
    return found


def _count(app: ChurnService, count: Callable[[], None]) -> None:
    count()
    app.metrics.count_prediction(1e-3)


def time_whole(app: ChurnService, body: bytes, seconds: float) -> float:
    """Return the median of a whole request to the application, without an HTTP server, in microseconds."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:  # noqa: ANN401  as ASGI has it
        if message.get("status", 200) != 200:
            raise RuntimeError(f"the service answered {message}")

    async def repeat() -> float:
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 10:
            started = time.perf_counter()
            await app(scope, receive, send)
            times.append(time.perf_counter() - started)
        return float(np.median(times)) * 1e6

    return asyncio.run(repeat())


def time_open_inference(model: ServedModel, customers: list[dict[str, Any]], seconds: float) -> dict[str, float]:
    """Return the microseconds of reading and writing the Open Inference Protocol, in both its forms."""
    schema, found = model.scorer.schema, {}
    for form in ("JSON", "binary"):
        body, size = encode_tensors(customers, binary=form == "binary")
        request = read_request(schema, body, size, len(customers))
        probabilities = model.scorer.score_raw(request.raw)
        decisions = model.scorer.decide(probabilities)
        request = type(request)(request.raw, dict.fromkeys(OUTPUTS, form == "binary"), None)
        reading = partial(read_request, schema, body, size, len(customers))
        writing = partial(encode_answer, request, model.scorer.version, probabilities, decisions)
        found[f"read tensors, {form}"] = time_call(reading, seconds)
        found[f"write tensors, {form}"] = time_call(writing, seconds)
    return found


def encode_tensors(customers: list[dict[str, Any]], *, binary: bool) -> tuple[bytes, int | None]:
    """Return a body of the Open Inference Protocol, and the length of its JSON if binary data follow."""
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


def measure_http(server: Server, customers: list[dict[str, Any]], clients: Clients, seconds: float) -> list[float]:
    """Return the CPU microseconds a server needs for a request over loopback, by size."""
    found = []
    with tempfile.TemporaryDirectory() as folder, launch(server, customers[:1], Path(folder, "log")) as running:
        for size in SIZES:
            body = json.dumps(server.wire(customers[:size])).encode()
            target = Target(running.port, "/predict", body)
            clients.run(target, 32, seconds / 4)
            before = measure_cpu(running.pid)
            load = run_wrk(target, 32, seconds) if has_wrk() else clients.run(target, 32, seconds)
            if load.errors:
                raise RuntimeError(f"{server.name} answered with {load.errors} errors")
            found.append((measure_cpu(running.pid) - before) / load.requests * 1e6)
    return found


def print_table(title: str, columns: Sequence[dict[str, float]], whole: Sequence[float] | None = None) -> None:
    """Print microseconds by part and size, with shares of the whole where it is known."""
    print(f"\n| {title} | " + " | ".join(f"{size:,}" for size in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for name in columns[0]:
        values = [column[name] for column in columns]
        shares = (
            [""] * len(values) if whole is None else [f" ({v / w:.0%})" for v, w in zip(values, whole, strict=True)]
        )
        print(f"| {name} | " + " | ".join(f"{v:,.1f}{share}" for v, share in zip(values, shares, strict=True)) + " |")
    if whole is not None:
        print("| **sum** | " + " | ".join(f"{sum(column.values()):,.1f}" for column in columns) + " |")
        print("| **the service over loopback, CPU** | " + " | ".join(f"{one:,.1f}" for one in whole) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--engines", default="onnx,tensorflow", help="which engines, with commas")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each part")
    options = parser.parse_args()
    customers = draw_customers(read_bundle(Registry(options.models).current_folder()).manifest.schema, max(SIZES))
    with Clients(1) as clients:
        bare = measure_http(limit(options.models, "bare"), customers, clients, options.seconds * 4)
        for engine in options.engines.split(","):
            whole = measure_http(ours(engine, options.models), customers, clients, options.seconds * 4)
            app = ChurnService(Settings(models=options.models, engine=engine, threads=1))
            asyncio.run(app.model_state.load())
            model = app.model_state.model
            if model is None:
                raise SystemExit(f"the model can't be loaded: {app.model_state.reason}")
            columns = []
            for size, http in zip(SIZES, bare, strict=True):
                parts = time_parts(app, model, customers[:size], options.seconds)
                columns.append({"HTTP server and kernel": http} | parts)
            print_table(f"POST /predict, {engine}, µs (part of the whole)", columns, whole)
    print_table(
        "Open Inference Protocol, µs", [time_open_inference(model, customers[:size], options.seconds) for size in SIZES]
    )
    sys.stdout.write(f"\nload average while this ran: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs\n")


if __name__ == "__main__":
    main()
