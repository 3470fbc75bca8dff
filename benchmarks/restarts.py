"""Restart, upgrade and kill a service under full load, and count the requests that were lost.

``python benchmarks/restarts.py [--times 20] [--scenario NAME ...]``. Only the loopback interface is used.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from reconnecting import Clients, Outcome
from servers import BIN, find_free_port

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.contracts import make_example

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 60.0
WARM_SECONDS = 1.5
"""Load before and after each event."""


def wait_until(condition: Callable[[], bool], what: str) -> float:
    """Wait until a condition holds; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > DEADLINE:
            raise SystemExit(f"{what} did not happen within {DEADLINE:g} s")
        time.sleep(0.02)
    return time.monotonic() - begun


class Service:
    """A service on a port, which may be replaced by another process."""

    def __init__(self, models: Path, workers: int, log: Path, **variables: str) -> None:
        self.port = find_free_port()
        self.workers = workers
        self._models = models
        self._log = log.open("ab")
        self._variables = {"CHURN_ACCESS_LOG": "false", "CHURN_LOG_LEVEL": "info", "CHURN_THREADS": "1"} | variables
        self.process = self.start()

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a process on the port; it may not be ready yet."""
        command = [str(BIN / "churn"), "serve", "--port", str(self.port), "--workers", str(self.workers)]
        command += ["--engine", "onnx", "--models", str(self._models), *options]
        return subprocess.Popen(command, stderr=self._log, env=os.environ | self._variables, process_group=0)  # noqa: S603

    def request(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET request; status 0 if there is no response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def is_whole(self) -> bool:
        """Return whether all workers serve."""
        if len(self.list_workers()) != self.workers:
            return False
        return f"\nchurn_ready_workers {float(self.workers)}\n" in self.request("/metrics")[1]

    def list_workers(self) -> list[int]:
        """Return the worker processes."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]

    def kill(self) -> None:
        """End every process."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def restart_in_place(service: Service) -> float:
    """Start a successor beside the service, which takes over its socket."""
    begun = time.monotonic()
    successor = service.start("--take-over")
    if service.process.wait(DEADLINE) != 0:
        raise SystemExit(f"the old process ended with status {service.process.returncode}")
    service.process = successor
    return time.monotonic() - begun


def stop_and_start(service: Service) -> float:
    """End the service and start another; meanwhile connections are refused."""
    return end_and_start(service, lambda: service.process.send_signal(signal.SIGTERM))


def interrupt_and_start(service: Service) -> float:
    """Press Ctrl-C, which a terminal sends to all processes, and start another."""
    return end_and_start(service, lambda: os.killpg(service.process.pid, signal.SIGINT))


def end_and_start(service: Service, end: Callable[[], None]) -> float:
    """Call `end`, wait for the end, start the service and return the seconds until it is whole."""
    begun = time.monotonic()
    end()
    if service.process.wait(DEADLINE) != 0:
        raise SystemExit(f"the process ended with status {service.process.returncode}")
    service.process = service.start()
    wait_until(service.is_whole, "readiness")
    return time.monotonic() - begun


def reload(service: Service) -> float:
    """Send SIGHUP to the parent, which replaces the workers."""
    before = set(service.list_workers())
    service.process.send_signal(signal.SIGHUP)
    return wait_until(lambda: not before & set(service.list_workers()) and service.is_whole(), "the restart")


def _hit_worker(service: Service, number: signal.Signals) -> float:
    worker = service.list_workers()[0]
    os.kill(worker, number)
    gone = wait_until(lambda: worker not in service.list_workers(), "the end of the worker")
    return gone + wait_until(service.is_whole, "readiness")


def kill_worker(service: Service) -> float:
    """Kill a worker."""
    return _hit_worker(service, signal.SIGKILL)


def stop_worker(service: Service) -> float:
    """Stop a worker, as if it hung."""
    return _hit_worker(service, signal.SIGSTOP)


def hang_up_worker(service: Service) -> float:
    """Send SIGHUP to a worker, which ignores it."""
    os.kill(service.list_workers()[0], signal.SIGHUP)
    return wait_until(service.is_whole, "readiness")


def terminate_worker(service: Service) -> float:
    """Send SIGTERM to a worker, which drains and is replaced."""
    return _hit_worker(service, signal.SIGTERM)


def stop_parent(service: Service) -> float:
    """Stop the parent for two seconds."""
    service.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    service.process.send_signal(signal.SIGCONT)
    return wait_until(service.is_whole, "readiness")


def kill_parent(service: Service) -> float:
    """Kill the parent, and start the service again when its workers are gone."""
    begun = time.monotonic()
    workers = service.list_workers()
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the end of the workers")
    service.process = service.start()
    wait_until(service.is_whole, "readiness")
    return time.monotonic() - begun


SCENARIOS: dict[str, tuple[Callable[[Service], float], str]] = {
    "take-over": (restart_in_place, "nothing"),
    "sigterm": (stop_and_start, "nothing; refused while no process listens"),
    "ctrl-c": (interrupt_and_start, "nothing; refused while no process listens"),
    "sighup": (reload, "nothing"),
    "worker-sighup": (hang_up_worker, "nothing"),
    "worker-sigterm": (terminate_worker, "nothing"),
    "worker-sigkill": (kill_worker, "what the worker held"),
    "worker-sigstop": (stop_worker, "what the worker held"),
    "parent-sigstop": (stop_parent, "nothing"),
    "parent-sigkill": (kill_parent, "nothing; refused while no process listens"),
}


@contextlib.contextmanager
def running(models: Path, workers: int, log: Path) -> Iterator[Service]:
    """Start a service, and kill all of its processes after the block."""
    service = Service(models, workers, log)
    try:
        wait_until(service.is_whole, "readiness")
        yield service
    finally:
        service.kill()


def measure(service: Service, event: Callable[[Service], float], times: int, body: bytes, clients: int) -> str:
    """Repeat an event under load; return a line of the table."""
    load = Clients(service.port, body, clients)
    whole = []
    try:
        for _ in range(times):
            time.sleep(WARM_SECONDS)
            whole.append(event(service))
        time.sleep(WARM_SECONDS)
    finally:
        outcome: Outcome = load.stop()
    counts = outcome.counts
    other = sum(count for kind, count in counts.items() if kind not in ("200", "lost", "refused"))
    slowest = max(outcome.latencies, default=0.0)
    return (
        f"{times} | {counts['200']:,} | {counts['lost']} | {other} | {counts['refused']:,} "
        f"| {slowest:.2f} | {sum(whole) / len(whole):.1f} | {max(whole):.1f}"
    )


def stop_cleanly() -> None:
    """End on SIGTERM like on Ctrl-C, so that no process of a service is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main() -> None:
    """Measure and print."""
    stop_cleanly()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=64, help="connections at a time")
    parser.add_argument("--times", type=int, default=20, help="repetitions of the restarts; of the others a quarter")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only these; default: all")
    parser.add_argument("--log", type=Path, default=Path("build/restarts.log"), help="log of the service")
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    folder = options.models.absolute()
    body = json.dumps(make_example(read_bundle(Registry(folder).current_folder()).manifest.schema)).encode()
    sys.stdout.write(f"{options.workers} workers, {options.clients} clients in a closed loop, one in four with a new\n")
    sys.stdout.write(
        "connection for each request; slowest response; until whole again: mean and longest; in seconds\n\n"
    )
    sys.stdout.write(
        "| event | may lose | times | answered | lost | other | refused | slowest s | whole s | longest s |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|---|---|---|\n")
    for name in options.scenario or SCENARIOS:
        event, allowed = SCENARIOS[name]
        times = options.times if name in ("take-over", "sigterm") else max(1, options.times // 4)
        with running(folder, options.workers, options.log) as service:
            line = measure(service, event, times, body, options.clients)
        sys.stdout.write(f"| {name} | {allowed} | {line} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
