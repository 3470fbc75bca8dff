"""Change the model of a loaded service many times, and count what its clients notice.

``python benchmarks/swaps.py --engine onnx --workers 2`` takes about three minutes. Made-up versions of the current
model differ in their output bias, so that an answer shows which version made it. In turn, a version is promoted with
the command's way (`models/current`), rolled back over HTTP, and a damaged version is promoted in both ways, which must
change nothing. Clients send at 70 % of the rate that they reach back to back. Everything is on the loopback interface
and bounded by ``--limit``. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from checking_clients import FAILED, WRONG, Job, run_client
from load import Target
from servers import Running, find_family, find_free_port, launch, measure_memory, ours
from variants import publish_variants

from churn.bundle import KERAS_FILE, ONNX_FILE, read_bundle
from churn.registry import CURRENT, Registry
from churn.runtime.cpus import count_cpus
from churn.runtime.files import replace_text
from service.api.contracts import make_example
from service.rollout.loading import load_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

SHIFTS = (0.0, 0.7, -0.7, 1.4)
"""Shifts of the output bias of the versions; the last one is damaged afterwards."""

LOOK_SECONDS = 0.2
"""Interval of questions whether a change was made; each of them takes as long as ten requests."""

WARM_SECONDS = 5.0
CLIENTS = 2


@dataclass(frozen=True, slots=True)
class Swap:
    """One change: when it was requested and done, from `time.monotonic`, and the version served afterwards."""

    kind: str
    begun: float
    done: float
    version: int


class Service:
    """The running service, and the changes that are made to it.

    Parameters
    ----------
    running : Running
    management : int
        Port for changes, so that no worker has to deal with them besides.
    models : Path
    workers : int
    limit : float
        End of the benchmark, from `time.monotonic`.
    """

    def __init__(self, running: Running, management: int, models: Path, workers: int, limit: float) -> None:
        self.pid = running.pid
        self._port, self._management = running.port, management
        self._registry = Registry(models)
        self._workers = workers
        self._limit = limit
        self.served = self._registry.current()

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        """Return the status and the JSON of a response."""
        port = self._management if path.startswith("/admin/") else self._port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def promote(self, version: int) -> Swap:
        """Promote a version as `churn models promote` does, and wait until it is served."""
        begun = time.monotonic()
        before = self._last_change()
        self._registry.promote(version)
        self._wait_for_change(before, "switched")
        self.served = version
        return Swap("promote", begun, time.monotonic(), version)

    def roll_back(self) -> Swap:
        """Roll back over HTTP."""
        begun = time.monotonic()
        status, change = self.ask("POST", "/admin/models/rollback")
        if status != http.client.OK:
            raise SystemExit(f"the rollback failed: {change}")
        self.served = int(change["version"])
        return Swap("rollback", begun, time.monotonic(), self.served)

    def promote_damaged(self, version: int, *, over_http: bool) -> Swap:
        """Promote a damaged version, which must be refused."""
        begun = time.monotonic()
        if over_http:
            status, _ = self.ask("POST", f"/admin/models/{version}/promote")
            if status != http.client.CONFLICT:
                raise SystemExit(f"a damaged version was answered with {status}")
        else:
            before = self._last_change()
            replace_text(self._registry.root / CURRENT, f"{version}\n")
            self._wait_for_change(before, "failed")
            replace_text(self._registry.root / CURRENT, f"{self.served}\n")
        done = time.monotonic()
        if self.ask("GET", "/model")[1]["version"] != str(self.served):
            raise SystemExit("a damaged version is served")
        return Swap("damaged", begun, done, self.served)

    def _last_change(self) -> Any:  # noqa: ANN401  a JSON value
        return self.ask("GET", "/model")[1].get("last_change")

    def _wait_for_change(self, before: object, outcome: str) -> None:
        while (change := self._last_change()) == before:
            if time.monotonic() > self._limit:
                raise SystemExit("the service did not notice another current version before --limit")
            time.sleep(LOOK_SECONDS)
        if change["outcome"] != outcome:
            raise SystemExit(f"expected {outcome}, but: {change}")


def find_answers(models: Path, versions: list[int], customer: dict[str, Any], engine: Any) -> dict[bytes, int]:  # noqa: ANN401
    """Return the answer of each version to a customer."""
    body = json.dumps(customer).encode()
    answers = {}
    for version in versions:
        model = load_model(models / str(version), engine)
        request: Any = model.parser.parse(body)
        answers[model.answers.encode_single(request, model.scorer.score_row(request.row))] = version
    if len(answers) < len(versions):
        raise SystemExit("the versions give the same answer")
    return answers


class Clients:
    """Client processes that run at the same time.

    Parameters
    ----------
    job : Job
        What they do together.
    folder : Path
        For the files that stop them.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self._job = job
        self._folder = folder
        self._pool = ProcessPoolExecutor(CLIENTS, get_context("spawn"))
        list(self._pool.map(time.sleep, [0.5] * CLIENTS))  # until they run
        self._runs = 0

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)

    @contextlib.contextmanager
    def run(self, rate: float | None) -> Iterator[list[NDArray[Any]]]:
        """Send requests during the block; the list has the arrays of `run_client` afterwards."""
        self._runs += 1
        stop = self._folder / f"stop-{self._runs}"
        job = replace(
            self._job,
            connections=self._job.connections // CLIENTS,
            rate=None if rate is None else rate / CLIENTS,
            stop=str(stop),
        )
        running = [self._pool.submit(run_client, job) for _ in range(CLIENTS)]
        found: list[NDArray[Any]] = []
        try:
            yield found
        finally:
            stop.touch()
            found += [np.concatenate(parts) for parts in zip(*(one.result() for one in running), strict=True)]


def measure_rate(ended: NDArray[np.float64]) -> float:
    """Return the requests per second: the median over seconds, since processes begin and pause."""
    counts = np.histogram(ended, np.arange(ended.min() + 0.5, ended.max(), 1.0))[0]
    return float(np.median(counts)) if len(counts) else len(ended) / (ended.max() - ended.min())


def make_swaps(service: Service, versions: list[int], damaged: int, options: argparse.Namespace) -> list[Swap]:
    """Make the changes, with a pause between them; print the memory now and then."""
    swaps: list[Swap] = []
    while len(swaps) < options.swaps:
        time.sleep(options.pause)
        turn, step = divmod(len(swaps), 3)
        if step == 0:
            swaps.append(service.promote(next(v for v in versions[turn % 3 :] + versions if v != service.served)))
        elif step == 1:
            swaps.append(service.roll_back())
        else:
            swaps.append(service.promote_damaged(damaged, over_http=turn % 2 == 0))
        if len(swaps) % 10 == 0:
            memory = measure_memory(service.pid)[0]
            print(f"{len(swaps)} changes: {memory:.1f} MB", flush=True)
    time.sleep(options.pause)
    return swaps


def describe(name: str, seconds: NDArray[np.float64]) -> str:
    """Return a line of a table with percentiles in milliseconds."""
    if not len(seconds):
        return f"| {name} | 0 | | | | |"
    p50, p99, p999 = np.percentile(seconds, [50, 99, 99.9]) * 1000
    return f"| {name} | {len(seconds):,} | {p50:.2f} | {p99:.2f} | {p999:.2f} | {seconds.max() * 1000:.1f} |"


def report(swaps: list[Swap], arrays: list[NDArray[Any]], answers: Mapping[bytes, int], memory: list[float]) -> int:
    """Print the result; return the number of requests that failed or were answered wrongly."""
    ended, seconds, versions = arrays
    begun = ended - seconds
    during = np.zeros(len(ended), dtype=bool)
    stale = 0
    for position, swap in enumerate(swaps):
        end = max(swap.done, swap.begun + 1.0)
        during |= (ended >= swap.begun) & (begun <= end)
        # Once a change is done, no answer to a request that began later may name another version.
        until = swaps[position + 1].begun if position + 1 < len(swaps) else np.inf
        after = (begun > swap.done) & (ended < until) & (versions >= 0)
        stale += int(np.count_nonzero(after & (versions != swap.version)))
    failed, wrong = (int(np.count_nonzero(versions == code)) for code in (FAILED, WRONG))
    took = {
        kind: [swap.done - swap.begun for swap in swaps if swap.kind == kind]
        for kind in ("promote", "rollback", "damaged")
    }
    for kind, times in took.items():
        if times:
            print(f"{kind}: {len(times)}, until done: median {np.median(times):.2f} s, longest {max(times):.2f} s")
    print("\n| requests | number | p50, ms | p99 | p99.9 | longest |\n|---|---|---|---|---|---|")
    print(describe("in the second around a change", seconds[during]))
    print(describe("at other times", seconds[~during]))
    shares = ", ".join(f"{v}: {int(np.count_nonzero(versions == v)):,}" for v in answers.values())
    print(f"\nrequests failed: {failed}\nanswers that no version gives: {wrong}")
    print(f"answers of another version after a change was done: {stale}\nanswers by version: {shares}")
    print(f"memory at the start: {memory[0]:.1f} MB, at the end: {memory[1]:.1f} MB")
    return failed + wrong + stale


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--engine", choices=("onnx", "tensorflow"), default="onnx")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--swaps", type=int, default=50, help="number of changes")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between changes")
    parser.add_argument("--share", type=float, default=0.7, help="share of the clients' rate back to back")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--limit", type=float, default=900, help="maximum seconds of the changes")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = read_options()
    source = Registry(options.models).current_folder()
    customer = make_example(read_bundle(source).manifest.schema)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        models = folder / "models"
        *versions, damaged = publish_variants(models, source, SHIFTS, with_keras=options.engine == "tensorflow")
        for file in (ONNX_FILE, KERAS_FILE):
            data = bytearray((models / str(damaged) / file).read_bytes())
            data[len(data) // 2] ^= 1
            (models / str(damaged) / file).write_bytes(data)
        Registry(models).promote(versions[0])
        answers = find_answers(models, versions, customer, options.engine)
        server = ours(options.engine, models, options.workers)
        management = find_free_port()
        settings = {"CHURN_ADMIN": "true", "CHURN_ACCESS_LOG": "false", "CHURN_MANAGEMENT_PORT": str(management)}
        server = replace(server, environment={**server.environment, **settings})
        running = stack.enter_context(launch(server, [customer], folder / "log"))
        limit = time.monotonic() + options.limit
        service = Service(running, management, models, options.workers, limit)
        request = Target(running.port, "/predict", json.dumps(customer).encode()).request()
        job = Job(running.port, request, answers, options.connections, None, "", options.limit)
        clients = stack.enter_context(contextlib.closing(Clients(job, folder)))
        with clients.run(None) as found:
            time.sleep(WARM_SECONDS)
        capacity = measure_rate(found[0])
        for _ in versions:  # what the first changes allocate is no leak
            service.promote(next(version for version in versions if version != service.served))
        with clients.run(options.share * capacity) as found:
            time.sleep(WARM_SECONDS)
            memory = [measure_memory(service.pid)[0]]
            print(f"{options.engine}, workers: {options.workers}, {options.share:.0%} of {capacity:,.0f} requests/s, "
                  f"{options.connections} connections, load average {os.getloadavg()[0]:.1f} on {count_cpus()} CPUs",
                  flush=True)  # fmt: skip
            swaps = make_swaps(service, versions, damaged, options)
            memory.append(measure_memory(service.pid)[0])
        bad = report(swaps, found, answers, memory)
        print(f"load: {measure_rate(found[0]) / capacity:.0%} of the capacity on the same connections")
        print(f"processes of the service: {len(find_family(service.pid))}")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
