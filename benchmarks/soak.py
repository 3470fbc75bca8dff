"""Serve for half an hour at 70 % of the throughput, while models change, workers die and clients misbehave.

``python benchmarks/soak.py [--minutes 30]``. The capacity is measured first, and again at the end: the same clients on
the same connections send back to back, beside those that misbehave. A copy of the models is used, with another version,
and the loopback interface only. Well-formed requests may fail only if a worker that was killed held them: on
connections that were open when it was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from reconnecting import Clients, Outcome
from restarts import Service, stop_cleanly, wait_until
from servers import BIN

from churn.bundle import MANIFEST, read_bundle, write_manifest
from churn.registry import Registry
from churn.runtime.cpus import count_cpus
from service.api.contracts import make_example

if TYPE_CHECKING:
    from numpy.typing import NDArray

WARM_SECONDS = 3.0
CALIBRATIONS = 3
CALIBRATION_SECONDS = 5.0
SWAP_SECONDS = 20.0
KILL_SECONDS = 60.0
STOP_SECONDS = 300.0
SAMPLE_SECONDS = 5.0
SETTLE_SECONDS = 30.0
"""Time after the start that does not count for the slopes of memory and descriptors."""

HELD_SECONDS = 12.0
"""Time after a worker was killed or stopped in which its requests fail: until it is noticed, and clients give up."""

DEATH_SECONDS = 0.1
"""Time for which a worker may go on after the signal, and accept a connection."""


@dataclass
class Faults:
    """What was done to the service, and when (`time.monotonic`)."""

    done: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Note an event."""
        self.done.append((time.monotonic(), what))

    def find_cause(self, when: float, opened: float) -> bool:
        """Return whether a worker was killed or stopped shortly before, when a connection was already open."""
        return any(
            what in ("kill", "stop") and 0 <= when - at <= HELD_SECONDS and opened <= at + DEATH_SECONDS
            for at, what in self.done
        )

    def cover(self, moments: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return for each moment whether a worker was killed or stopped shortly before."""
        covered = np.zeros(len(moments), dtype=bool)
        for at, what in self.done:
            if what in ("kill", "stop"):
                covered |= (moments >= at) & (moments <= at + HELD_SECONDS)
        return covered

    def count(self, what: str) -> int:
        """Return how often something was done."""
        return sum(done == what for _, done in self.done)


class Misbehaving(threading.Thread):
    """Clients that are silent, send slowly, leave early, or send much and read nothing."""

    def __init__(self, port: int, body: bytes, clients: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._clients = clients
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self._request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._stop_event = threading.Event()
        self._random = random.Random(0)  # noqa: S311  no secret
        self.opened = 0

    def run(self) -> None:
        """Misbehave until stopped."""
        open_ones: list[tuple[float, int, socket.socket, int]] = []
        while not self._stop_event.wait(0.1):
            now = time.monotonic()
            while len(open_ones) < self._clients:
                with contextlib.suppress(OSError):
                    opened = socket.create_connection(("127.0.0.1", self._port), timeout=1)
                    opened.setblocking(False)
                    open_ones.append((now + self._random.uniform(0.5, 20), self.opened % 4, opened, 0))
                    self.opened += 1
                    continue
                break
            kept = []
            for until, kind, opened, sent in open_ones:
                count = self._misbehave(kind, opened, sent)
                if count < 0 or now >= until:
                    opened.close()
                else:
                    kept.append((until, kind, opened, count))
            open_ones = kept
        for _, _, opened, _ in open_ones:
            opened.close()

    def _misbehave(self, kind: int, opened: socket.socket, sent: int) -> int:
        """Continue on a connection; return the bytes sent so far, -1 to close it."""
        try:
            if kind == 0:  # silent
                return sent
            if kind == 1:  # slow
                return sent + opened.send(self._request[sent : sent + 3])
            if kind == 2:  # leaves without its response
                opened.send(self._request)
                return -1
            return sent + opened.send(self._request * 50)  # does not read
        except BlockingIOError:
            return sent
        except OSError:
            return -1

    def stop(self) -> None:
        """Stop, and close the connections."""
        self._stop_event.set()
        self.join()


COLUMNS = ("parent, MB", "parent, descriptors", "each worker, MB", "each worker, descriptors", "metrics, files")


def measure_processes(service: Service) -> list[float]:
    """Return what `COLUMNS` names; of the workers the mean."""
    found = [_measure_process(pid) for pid in (service.process.pid, *service.list_workers())]
    parent, *workers = (one for one in found if one)
    files = len(list(Path(tempfile.gettempdir()).glob("churn-metrics-*/*.db")))
    return [*parent, *(sum(values) / len(workers) for values in zip(*workers, strict=True)), files]


def _measure_process(pid: int) -> tuple[float, ...]:
    """Return the resident memory in MB and the number of descriptors; nothing if the process has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except (OSError, IndexError):
        return ()


def calibrate(service: Service, body: bytes, clients: int) -> float:
    """Return the capacity: what the same clients reach back to back, in answers per second; the median of the rounds.

    Clients that misbehave are to be there already: what they send takes its share.
    """
    load = Clients(service.port, body, clients)
    time.sleep(WARM_SECONDS)
    marks = [time.monotonic()]
    for _ in range(CALIBRATIONS):
        time.sleep(CALIBRATION_SECONDS)
        marks.append(time.monotonic())
    outcome = load.stop()
    rates = np.histogram(np.array(outcome.moments), marks)[0] / np.diff(marks)
    refused = sum(count for kind, count in outcome.counts.items() if kind != "200")
    each = ", ".join(f"{rate:,.0f}" for rate in rates)
    print(
        f"capacity on {clients} connections: {np.median(rates):,.0f}/s ({each}); "
        f"not answered: {refused}; load average {os.getloadavg()[0]:.1f} on {count_cpus()} CPUs",
        flush=True,
    )
    return float(np.median(rates))


def publish_copy(models: Path, folder: Path) -> int:
    """Publish a version that differs from another only in its number; return that."""

    def write(copy: Path, version: int) -> None:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        content = json.loads((copy / MANIFEST).read_text(encoding="utf-8"))
        for written in ("format", "files", "manifest_sha256"):
            content.pop(written)
        (copy / MANIFEST).unlink()
        write_manifest(copy, content | {"version": version})

    return Registry(models).publish(write, promote=False)


class Swaps:
    """Changes of the model: promotion of a version and rollback in turn, the way an operator does it."""

    def __init__(self, models: Path, version: int, service: Service, *, signals: bool) -> None:
        self._version = version
        self._models = models
        self._service = service
        self._signals = signals
        self._count = 0

    def swap(self) -> None:
        """Make another version current."""
        self._count += 1
        action = ["promote", str(self._version)] if self._count % 2 else ["rollback"]
        command = [str(BIN / "churn"), "models", *action, "--models", str(self._models)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  our own
        if done.returncode:
            raise SystemExit(f"churn models {action[0]} failed: {done.stderr.strip()}")
        if self._signals:
            self._service.process.send_signal(signal.SIGHUP)


def disturb(service: Service, seconds: float, swaps: Swaps, faults: Faults) -> list[list[float]]:
    """Change models, kill and stop workers; return samples of the time and `COLUMNS`."""
    begun = time.monotonic()
    due = {"swap": SWAP_SECONDS, "kill": KILL_SECONDS, "stop": STOP_SECONDS, "sample": 0.0}
    interval = {"swap": SWAP_SECONDS, "kill": KILL_SECONDS, "stop": STOP_SECONDS, "sample": SAMPLE_SECONDS}
    samples: list[list[float]] = []
    while (now := time.monotonic() - begun) < seconds:
        what = min(due, key=due.__getitem__)
        if due[what] > now:
            time.sleep(min(due[what] - now, 0.5, seconds - now))
            continue
        due[what] += interval[what]
        if what == "sample":
            if service.list_workers():
                samples.append([now, *measure_processes(service)])
        elif what == "swap":
            swaps.swap()
            faults.note("swap")
        elif workers := service.list_workers():
            os.kill(random.choice(workers), signal.SIGKILL if what == "kill" else signal.SIGSTOP)  # noqa: S311
            faults.note(what)
    return samples


def report(outcome: Outcome, faults: Faults, samples: list[list[float]], rate: float) -> bool:
    """Print the figures; return whether no request failed that no dead worker held."""
    held = [failure for failure in outcome.failures if faults.find_cause(failure[0], failure[2])]
    unexplained = [failure for failure in outcome.failures if not faults.find_cause(failure[0], failure[2])]
    latencies = np.array(outcome.latencies) * 1000
    quiet = latencies[~faults.cover(np.array(outcome.moments))]
    print(f"\nload {rate:.0f}/s; answered {outcome.counts['200']:,}, by version {dict(outcome.versions)}")
    print(f"swaps {faults.count('swap')}, workers killed {faults.count('kill')}, stopped {faults.count('stop')}")
    print(f"failed while a killed or stopped worker held them: {len(held)}; failed otherwise: {len(unexplained)}")
    if unexplained:  # 503: refused because more requests came at once than can be scored in time
        print(f"  by outcome: {dict(Counter(kind for _, kind, _ in unexplained))}")
    for at, kind, _ in unexplained[:10]:
        print(f"  {kind} at {at - outcome.moments[0]:.1f} s")
    print(f"connections refused: {outcome.counts['refused']}")
    for name, values in (("all", latencies), ("apart from kills and stops", quiet)):
        if len(values):
            p50, p99, p999 = np.percentile(values, [50, 99, 99.9])
            print(f"latency in ms, {name}: p50 {p50:.2f}, p99 {p99:.2f}, p99.9 {p999:.2f}, longest {values.max():.0f}")
    settled = [sample for sample in samples if sample[0] >= SETTLE_SECONDS] or samples
    if len(settled) > 1:
        hours = np.array([sample[0] for sample in settled]) / 3600
        for name, values in zip(COLUMNS, np.array(settled).T[1:], strict=True):
            slope = np.polyfit(hours, values, 1)[0]
            print(
                f"{name}: first {values[0]:.0f}, last {values[-1]:.0f}, most {values.max():.0f}; {slope:+.1f} an hour"
            )
    return not unexplained


def main() -> None:
    """Run the soak test."""
    stop_cleanly()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder whose current version is copied")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=64, help="well-behaved connections; one ninth more misbehave")
    parser.add_argument(
        "--share", type=float, default=0.7, help="load as a share of the capacity that is measured first"
    )
    parser.add_argument("--rate", type=float, help="requests per second, instead of that share")
    parser.add_argument("--signals", action="store_true", help="send SIGHUP after each change of the model")
    parser.add_argument("--log", type=Path, default=Path("build/soak.log"), help="log of the service")
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="churn-soak-") as folder:
        models = Path(folder, "models")
        shutil.copytree(options.models, models)
        current = Registry(models).current_folder()
        body = json.dumps(make_example(read_bundle(current).manifest.schema)).encode()
        other = publish_copy(models, current)
        service = Service(models, options.workers, options.log)
        faults = Faults()
        try:
            while not service.is_whole():
                time.sleep(0.05)
            misbehaving = Misbehaving(service.port, body, max(1, options.clients // 9))
            misbehaving.start()
            rate = options.rate or options.share * calibrate(service, body, options.clients)
            load = Clients(service.port, body, options.clients, rate)
            begun = time.monotonic()
            swaps = Swaps(models, other, service, signals=options.signals)
            samples = disturb(service, options.minutes * 60, swaps, faults)
            seconds = time.monotonic() - begun
            outcome = load.stop()
            wait_until(service.is_whole, "that all workers serve after the last fault")
            last = calibrate(service, body, options.clients)
            misbehaving.stop()
        finally:
            service.kill()
    is_fine = report(outcome, faults, samples, rate)
    ended = outcome.counts["200"] + len(outcome.failures)
    print(f"requests that ended: {ended / seconds:,.0f}/s, {ended / seconds / rate:.0%} of the intended rate")
    print(f"the intended rate is {rate / last:.0%} of the capacity at the end")
    print(f"misbehaving connections: {misbehaving.opened}")
    sys.exit(not is_fine)


if __name__ == "__main__":
    main()
