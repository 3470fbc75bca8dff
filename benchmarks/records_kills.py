"""Kill the service under load at random moments, and count the answers without a record.

``python benchmarks/records_kills.py --kills 200`` kills, in each mode and with each database, a writer process, a
worker or all processes at once, with SIGKILL, while clients send single customers with identifiers of their own. The
next kill is at a random moment after the service is whole again. After each round the service is started again, so
that it loads what was in files, and the store is verified. In mode durable every answer must have its record. In mode
behind, answers may lack one that were given within 0.05 s before the end of a worker, in which it ran: on a machine
whose CPUs are all busy it may have had to wait meanwhile, so it is printed how long before a kill the oldest answer
without a record was seen. PostgreSQL is the tests' own server and needs its programs.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from records_speed import list_stores, read_metrics, wait_until_kept
from servers import START_SECONDS, Server, find_family, find_free_port, ours

from churn.bundle import read_bundle
from churn.registry import Registry
from records.find import select
from records.store import open_store
from records.verify import verify
from service.api.contracts import make_example

if TYPE_CHECKING:
    from collections.abc import Iterator

LAG = 1.0
LOST_SECONDS = 0.05
"""Seconds of records that a kill in mode behind may take with it, whatever the database does."""
WORKERS = 2
SLACK = 0.5
"""Seconds by which a client may see an answer later than it was given."""

_numbers = itertools.count(1)


class Kill(NamedTuple):
    """What was killed, and between which moments; they are far apart on a machine where this process has to wait."""

    victim: str
    begun: float
    ended: float

    def may_take(self, at: float) -> bool:
        """Return whether the record of an answer may be lost by the kill; `at` is when the client saw the answer."""
        return self.measure_age(at) <= LOST_SECONDS + SLACK

    def measure_age(self, at: float) -> float:
        """Return how many seconds before the kill an answer was seen; infinite if the kill can't concern it."""
        return inf if self.victim == "writer" or at > self.ended + SLACK else max(0.0, self.begun - at)


class Clients:
    """Threads that send customers, and remember when each was answered."""

    def __init__(self, port: int, customer: dict[str, Any], count: int) -> None:
        self.answered: dict[str, float] = {}
        self.refused = 0
        self._port, self._body = port, json.dumps(customer)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        while not self._stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            with contextlib.suppress(OSError, http.client.HTTPException):
                while not self._stopped.is_set():
                    name = f"kill-{next(_numbers)}"
                    headers = {"Content-Type": "application/json", "X-Request-ID": name}
                    connection.request("POST", "/predict", self._body, headers)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        self.answered[name] = time.time()
                    else:
                        self.refused += 1
            connection.close()
            self._stopped.wait(0.01)

    def stop(self) -> None:
        """End them."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def serve(server: Server, log: Path) -> Iterator[tuple[int, int]]:
    """Start a service; yield its port and process. It may be killed in the block."""
    port = find_free_port()
    command = [part.replace("{port}", str(port)) for part in server.command]
    with (
        log.open("ab") as out,
        subprocess.Popen(  # noqa: S603  our own commands
            command, env=os.environ | dict(server.environment), stdout=out, stderr=out
        ) as process,
    ):
        end = time.monotonic() + START_SECONDS
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the service did not start: see {log}")
            time.sleep(0.05)
        yield port, process.pid
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    return False


def list_processes(pid: int) -> dict[str, list[int]]:
    """Return the processes of a service: all, its writers and its workers, which are the parents of these."""
    family = find_family(pid)
    lines = {one: Path(f"/proc/{one}/cmdline").read_bytes() for one in family if Path(f"/proc/{one}").exists()}
    writers = [one for one, line in lines.items() if b"records.writer" in line]
    parents = {int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1]) for one in writers}
    return {"all": family, "writer": writers, "worker": sorted(parents)}


def kill(pid: int, victim: str, draw: random.Random) -> Kill | None:
    """Kill a process of a kind, or all; None if there is none at the moment."""
    with contextlib.suppress(OSError):
        found = list_processes(pid)[victim]
        begun = time.time()
        for one in found if victim == "all" else [draw.choice(found)] if found else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        return Kill(victim, begun, time.time()) if found else None
    return None


def wait_until_whole(port: int, pid: int, workers: int = WORKERS) -> None:
    """Wait until all workers are ready, and all writers write."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, KeyError):
            metrics = read_metrics(port)
            is_up = metrics["churn_ready_workers"] == workers and not metrics["churn_records_down"]
            if is_up and len(list_processes(pid)["writer"]) == workers:
                return
        time.sleep(0.05)
    raise RuntimeError("the service did not recover")


def wait_until_loaded(folder: Path, seconds: float = 300) -> None:
    """Wait until nothing is left in files."""
    end = time.monotonic() + seconds
    while [*folder.glob("*.spill")] and time.monotonic() < end:
        time.sleep(0.1)


def play(server: Server, customer: dict[str, Any], kills: int, folder: Path, draw: random.Random) -> dict[str, int]:
    """Kill so many times; return what was counted."""
    made: list[Kill] = []
    answered: dict[str, float] = {}
    refused = faults = 0
    store = None
    while len(made) < kills:
        with serve(server, folder / "log") as (port, pid):
            clients = Clients(port, customer, 8)
            for victim in [*draw.choices(("writer", "worker"), k=min(9, kills - len(made) - 1)), "all"]:
                wait_until_whole(port, pid)
                time.sleep(draw.uniform(0, 0.7))
                done = kill(pid, victim, draw)
                made += [done] if done is not None else []
            clients.stop()
            answered |= clients.answered
            refused += clients.refused
        with serve(server, folder / "log") as (port, _):  # loads what is in files
            wait_until_kept(port)
            wait_until_loaded(Path(server.environment["CHURN_RECORDS_SPILL"]))
        store = store or open_store(str(server.environment["CHURN_RECORDS"]))
        faults += len(verify(store).faults)
    assert store is not None  # noqa: S101  it was played
    found = [record.request_id for part in select(store) for record in part]
    recorded = set(found)
    missing = {name: at for name, at in answered.items() if name not in recorded}
    excused = sum(any(one.may_take(at) for one in made) for at in missing.values())
    ages = [min(one.measure_age(at) for one in made) for at in missing.values()]
    oldest = max((age for age in ages if age < inf), default=0.0)
    return {
        "kills": len(made),
        "answers": len(answered),
        "refused": refused,
        "without record": len(missing),
        "outside the lag": len(missing) - excused,
        "ms before its kill was the oldest of them answered": round(oldest * 1000),
        "recorded twice": len(found) - len(recorded),
        "faults of the chains": faults,
    }


def main() -> None:
    """Kill, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the models")
    parser.add_argument("--kills", type=int, default=200, help="kills in each mode and database")
    parser.add_argument("--only", help='mode and database, e.g. "durable PostgreSQL"; by default all four')
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    schema = read_bundle(Registry(options.models).current_folder()).manifest.schema
    customer: dict[str, Any] = dict(make_example(schema))
    draw = random.Random(options.seed)  # noqa: S311  no secret
    wrong = 0
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        with list_stores(folder) as stores:
            for name, url in stores.items():
                if options.only not in (None, name):
                    continue
                mode = name.split()[0]
                plain = ours("onnx", options.models, workers=WORKERS)
                variables = {"CHURN_RECORDS": url, "CHURN_RECORDS_MODE": mode, "CHURN_RECORDS_LAG": str(LAG)}
                variables["CHURN_RECORDS_SPILL"] = str(folder / f"{mode}-{url.partition(':')[0]}")
                server = Server(name, plain.command, {**plain.environment, **variables})
                counted = play(server, customer, options.kills, folder, draw)
                wrong += counted["faults of the chains"] + counted["recorded twice"]
                wrong += counted["without record" if mode == "durable" else "outside the lag"]
                sys.stdout.write(f"{name}: {', '.join(f'{count:,} {what}' for what, count in counted.items())}\n")
                sys.stdout.flush()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
