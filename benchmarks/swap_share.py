"""Measure how much of its time a busy event loop keeps while its worker loads another model in a thread.

``python benchmarks/swap_share.py [--engine tensorflow]``. A thread loads a model again and again, as a worker does at a
change: plainly, and with the pauses of `churn.runtime.switching.pace`. Meanwhile the main thread works like an event
loop with more requests than it can answer: it computes for some 20 us, and gives the interpreter up for a system call.
Shown are the turns that it makes as a share of those it makes alone, its longest turn, and what loading takes. A worker
whose share is below its load falls behind until the model is loaded. Other processes disturb it; as root on Linux,
--realtime lets it run before them.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from churn.registry import Registry
from churn.runtime.switching import pace, yield_often
from service.rollout.loading import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

ALONE_SECONDS = 0.1
STEPS = 200
WAYS: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "without pauses": contextlib.nullcontext,
    "with pauses": pace,
}


class Load(NamedTuple):
    """What one load of the model took, and left to the loop: seconds, CPU seconds, share, and longest turn."""

    seconds: float
    cpu: float
    share: float
    longest: float


def turn(null: int) -> None:
    """Do what a request takes in an event loop."""
    total = 0
    for step in range(STEPS):
        total += step * step
    os.write(null, b"x")


def measure(load: Callable[[], object], way: str, null: int) -> Load:
    """Load the model once in a thread, while the loop works."""
    begun, turns = time.perf_counter(), 0
    while time.perf_counter() - begun < ALONE_SECONDS:
        turn(null)
        turns += 1
    alone = turns / (time.perf_counter() - begun)
    used: list[float] = []

    def work() -> None:
        before = time.thread_time()
        with yield_often(), WAYS[way]():
            load()
        used.append(time.thread_time() - before)

    thread = threading.Thread(target=work)
    begun = last = time.perf_counter()
    thread.start()
    turns, longest = 0, 0.0
    while not used:
        turn(null)
        turns += 1
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    seconds = time.perf_counter() - begun
    thread.join()
    return Load(seconds, used[0], turns / seconds / alone, longest)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--engine", choices=("onnx", "tensorflow"), default="onnx")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--realtime", action="store_true", help="run before all ordinary processes (chrt)")
    options = parser.parse_args()
    folder = Registry(options.models).current_folder()

    def load() -> object:
        return load_model(folder, options.engine)

    load()
    gc.collect()
    gc.freeze()  # as a worker does
    if options.realtime:
        command = ["chrt", "--fifo", "--all-tasks", "--pid", "10", str(os.getpid())]
        subprocess.run(command, check=True)  # noqa: S603
    null = os.open(os.devnull, os.O_WRONLY)
    found: dict[str, list[Load]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            found[way].append(measure(load, way, null))
    sys.stdout.write(
        "| loading | takes, ms | CPU, ms | the loop keeps | its longest turn, ms |\n|---|---|---|---|---|\n"
    )
    for way, loads in found.items():
        seconds, cpu, share, longest = (statistics.median(values) for values in zip(*loads, strict=True))
        sys.stdout.write(f"| {way} | {seconds * 1000:.0f} | {cpu * 1000:.0f} | {share:.0%} | {longest * 1000:.2f} |\n")


if __name__ == "__main__":
    main()
