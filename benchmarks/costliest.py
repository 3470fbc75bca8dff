"""Search for the input that costs the service most: time in which its event loop is blocked, and memory.

``costly_search.py`` describes the search. A child process with limited memory does the work, and is replaced if it
ends. Prints the number of inputs of each media type, and the costliest ones, against the bounds; ends with status 1 if
one is exceeded, or answered with 500.

``python benchmarks/costliest.py --inputs 200000`` (half an hour on a CPU), or ``make fuzz``.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import resource
import subprocess
import sys
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import uvloop
from costly_search import BLOCKED_SECONDS, GROWN_BYTES, MEDIA_TYPES, WORST, Search, take_least
from in_process import PREDICT, InProcess, frame, serve
from known_worst import list_known
from recipes import ARROW, Table, write_table

CHILD_BYTES = 12 * 2**30
REPORT_SECONDS = 10.0


async def warm_up(service: InProcess) -> None:
    """Load what the first table loads, and take what exists out of the collection of garbage."""
    await service.send(frame(PREDICT, ARROW, write_table(Table(2, 1, ()), is_file=False)))
    gc.collect()
    gc.freeze()


async def search(name: str, seed: int, inputs: int, seconds: float, models: Path) -> None:
    """Search in this process, and print the result now and then as a line of JSON."""
    logging.disable()
    async with serve(models) as service:
        found = Search(service, name, Random(seed))  # noqa: S311  no secret
        await warm_up(service)
        await found.begin()
        reported = process_time()
        while found.tried < inputs and process_time() < seconds:
            await found.step()
            if process_time() - reported > REPORT_SECONDS:
                reported = process_time()
                _report(found)
        _report(found)


def _report(found: Search) -> None:
    counts = {"tried": found.tried, "large": found.large, "failed": found.failed, "seconds": process_time()}
    print(json.dumps(counts | {"worst": found.list_worst()}), flush=True)


class Total:
    """The joined results of the child processes of one media type."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tried = self.large = self.failed = self.ended = 0
        self.seconds = 0.0
        self.worst: dict[str, list[list[Any]]] = {"blocked": [], "grown": []}

    def add(self, result: dict[str, Any]) -> None:
        """Add the last result of a process."""
        for key in ("tried", "large", "failed", "seconds"):
            setattr(self, key, getattr(self, key) + result[key])
        for what, worst in result["worst"].items():
            self.worst[what] = sorted([*self.worst[what], *worst], reverse=True)[:WORST]

    @property
    def is_exceeded(self) -> bool:
        """Whether a bound is exceeded, or an input was answered with 500."""
        blocked, grown = (max((one[0] for one in self.worst[what]), default=0.0) for what in ("blocked", "grown"))
        return blocked > BLOCKED_SECONDS or grown > GROWN_BYTES or self.failed > 0

    def describe(self) -> str:
        """Return the figures in a line."""
        blocked, grown = (max((one[0] for one in self.worst[what]), default=0.0) for what in ("blocked", "grown"))
        return (
            f"{self.name}: {self.tried} inputs ({self.large} large) in {self.seconds:.0f} s of CPU, {self.failed} "
            f"answered with 500, {self.ended} processes ended; worst: {blocked * 1e3:.1f} ms, {grown / 1e6:.1f} MB"
        )


def run_children(name: str, inputs: int, seconds: float, seed: int, models: Path) -> Total:
    """Search in child processes until all inputs are tried or the CPU time is over; return the joined results."""
    total = Total(name)
    while total.tried < inputs and total.seconds < seconds:
        command = [sys.executable, __file__, "--child", name, "--seed", str(seed), "--models", str(models)]
        command += ["--inputs", str(inputs - total.tried), "--seconds", str(seconds - total.seconds)]
        result: dict[str, Any] = {"tried": 1, "large": 0, "failed": 0, "seconds": 1.0, "worst": {}}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:  # noqa: S603
            assert child.stdout is not None  # noqa: S101  a pipe
            for line in child.stdout:
                result = json.loads(line)
                print(f"  {name}: {total.tried + result['tried']} of {inputs}", file=sys.stderr, flush=True)
        total.add(result)
        total.ended += child.returncode != 0
        seed += 1000
    return total


async def measure_known(models: Path) -> None:
    """Measure the known costly inputs in this process, and print them as lines of JSON."""
    logging.disable()
    async with serve(models) as service:
        await warm_up(service)
        for name, data, own in list_known():
            costs = [await service.send(data, weighs=True)]
            while len(costs) < 3 and (costs[0].blocked > BLOCKED_SECONDS / 4 or costs[0].grown - own > GROWN_BYTES / 2):
                costs.append(await service.send(data, weighs=True))
            least = take_least(costs)
            figures = {"status": least.status, "blocked": least.blocked, "grown": max(0, least.grown - own)}
            print(json.dumps({"name": name} | figures), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs of each media type")
    parser.add_argument("--seconds", type=float, default=900, help="longest CPU time for each media type")
    parser.add_argument("--media-type", choices=MEDIA_TYPES, action="append", help="all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--known", action="store_true", help="only measure the known costly inputs; as lines of JSON")
    parser.add_argument("--child", choices=MEDIA_TYPES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Search, and print a table."""
    arguments = parse_arguments()
    if arguments.child or arguments.known:
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
        models = arguments.models.resolve()
        if arguments.known:
            uvloop.run(measure_known(models))
        else:
            uvloop.run(search(arguments.child, arguments.seed, arguments.inputs, arguments.seconds, models))
        return
    print(f"bounds: {BLOCKED_SECONDS * 1e3:.0f} ms of the event loop, {GROWN_BYTES / 1e6:.0f} MB beyond the body")
    exceeded = False
    for name in arguments.media_type or MEDIA_TYPES:
        total = run_children(name, arguments.inputs, arguments.seconds, arguments.seed, arguments.models)
        exceeded |= total.is_exceeded
        print(total.describe())
        for what, unit, scale in (("blocked", "ms", 1e3), ("grown", "MB", 1e-6)):
            for value, size, status, text in total.worst[what]:
                print(f"    {value * scale:6.1f} {unit}  {size:9} bytes  {status}  {text}", flush=True)
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
