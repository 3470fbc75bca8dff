"""The HTTP part of `benchmarks/reasons.py --http`: what reasons cost over HTTP, and what they cost other requests.

One worker is started. Requests with and without reasons take turns on one connection, so that load on the machine
affects them equally. Then plain requests are sent at a steady pace, in turns with and without a client beside them that
asks for the reasons of 50 customers again and again.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from servers import launch, ours

from churn.bundle import MANIFEST, write_manifest
from churn.columns import as_customers
from churn.registry import Registry
from churn.trust.background import BACKGROUND_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.scorer import Scorer

BESIDE = 50
"""Customers in a request of the client beside."""

PACE_SECONDS = 0.005

REASONS = "?reasons=4"

WAYS = {"plain, fast path": "", "plain, with a parameter": "?extra=refuse", "with 4 reasons": REASONS}


class Client:
    """A client with one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, query: str, body: bytes) -> float:
        """Send a request and return the seconds until its response was read."""
        start = time.perf_counter()
        self._connection.request("POST", f"/predict{query}", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the service answered {answer.status}")
        return time.perf_counter() - start


@contextmanager
def lend_models(scorer: Scorer) -> Iterator[Path]:
    """Yield a folder with the model version as its only one, with its background, which may be chosen anew."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / scorer.version
        shutil.copytree(scorer.folder, folder)
        if scorer.background is not None:
            np.save(folder / BACKGROUND_FILE, scorer.background)
        content = json.loads((folder / MANIFEST).read_bytes())
        for name in ("format", "files", "manifest_sha256"):
            del content[name]
        write_manifest(folder, content)
        Registry(Path(root)).promote(int(scorer.version))
        yield Path(root)


def measure_http(scorer: Scorer, raw: NDArray[np.float64], turns: int) -> None:
    """Measure and print.

    Parameters
    ----------
    scorer : Scorer
    raw : ndarray of float64, shape (n, features)
        Customers to ask about.
    turns : int
        Requests of each kind.
    """
    customers: list[dict[str, Any]] = [dict(one) for one in as_customers(scorer.schema, raw[: max(turns, BESIDE)])]
    bodies = [json.dumps(customer).encode() for customer in customers]
    batch = json.dumps({"customers": customers[:BESIDE]}).encode()
    with lend_models(scorer) as models, tempfile.TemporaryDirectory() as logs:
        server = ours("onnx", models)
        with launch(server, customers[:1], Path(logs) / "log") as running:
            client = Client(running.port)
            _take_turns(client, bodies, turns)
            _time_batches(client, batch)
            _watch_others(running.port, bodies, batch)


def _take_turns(client: Client, bodies: list[bytes], turns: int) -> None:
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for query in WAYS.values():
        client.post(query, bodies[0])
    for turn in range(turns):
        for way, query in WAYS.items():
            seconds[way].append(client.post(query, bodies[turn % len(bodies)]))
    print(f"\n{turns} requests of each kind in turn on one connection, one customer each\n")
    print("| request | p50, ms | p95, ms |")
    print("|---|---|---|")
    for way, found in seconds.items():
        print(f"| {way} | {1e3 * np.percentile(found, 50):.2f} | {1e3 * np.percentile(found, 95):.2f} |")
    extra = np.subtract(seconds["with 4 reasons"], seconds["plain, fast path"])
    print(f"| what reasons add, request by request | {1e3 * np.percentile(extra, 50):.2f} | |")


def _time_batches(client: Client, batch: bytes, rounds: int = 10) -> None:
    seconds = [client.post(REASONS, batch) for _ in range(rounds)]
    print(f"\n{BESIDE} customers in a request: {BESIDE / np.median(seconds):,.0f} customers/s with reasons")


def _watch_others(port: int, bodies: list[bytes], batch: bytes, rounds: int = 6, seconds: float = 2.0) -> None:
    """Print the latency of plain requests beside a client that asks for reasons, and without it."""
    found: dict[bool, list[float]] = {False: [], True: []}
    client = Client(port)
    for turn in range(2 * rounds):
        is_beside = bool(turn % 2)
        beside = multiprocessing.Process(target=_ask_on, args=(port, batch), daemon=True)
        if is_beside:
            beside.start()
            time.sleep(0.3)
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            found[is_beside].append(client.post("", bodies[len(found[is_beside]) % len(bodies)]))
            time.sleep(PACE_SECONDS)
        if is_beside:
            beside.terminate()
            beside.join()
    print("\n| plain requests | p50, ms | p95, ms | p99, ms | number |")
    print("|---|---|---|---|---|")
    for is_beside, times in found.items():
        shown = " | ".join(f"{1e3 * np.percentile(times, share):.2f}" for share in (50, 95, 99))
        print(f"| {'beside reasons' if is_beside else 'alone'} | {shown} | {len(times)} |")


def _ask_on(port: int, batch: bytes) -> None:
    client = Client(port)
    while True:
        client.post(REASONS, batch)
