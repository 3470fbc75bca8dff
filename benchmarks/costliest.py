"""Search for the input that costs the service most: time in which its event loop is blocked, and memory.

For each media type, many small inputs are changed at random; the costliest per byte are kept, changed again, and
repeated up to 16 MB. What seems costly is measured several times, and the least counts, since other processes of the
machine disturb. A child process with limited memory does the work, and is replaced if it ends. Prints the number of
inputs, and the costliest ones, against the bounds; ends with status 1 if one is exceeded, or answered with 500.

``python benchmarks/costliest.py --inputs 200000 --seconds 900`` (of each media type), or ``make fuzz``.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import uvloop
from in_process import PREDICT, Cost, InProcess, frame, serve
from known_worst import list_known
from recipes import (
    ARROW,
    KINDS,
    Table,
    bake,
    change,
    change_table,
    enlarge,
    enlarge_table,
    measure,
    write_table,
)

BLOCKED_SECONDS = 0.1
GROWN_BYTES = 64 * 10**6
CHILD_BYTES = 12 * 2**30
LARGE_EVERY = 400
KEPT = 40
WORST = 5
SUSPICIOUS_SECONDS = 0.05
ARROWS = {"Arrow stream": False, "Arrow file": True}
"""Media types of tables described by numbers, and whether they are files."""

MEDIA_TYPES = [*KINDS, *ARROWS]


class Search:
    """A search among the inputs of one media type.

    Parameters
    ----------
    service : InProcess
    name : str
        One of `MEDIA_TYPES`.
    random : Random
    """

    def __init__(self, service: InProcess, name: str, random: Random) -> None:
        self._service, self._random = service, random
        self._kind = KINDS.get(name)
        self._is_file = ARROWS.get(name, False)
        seeds: list[Any] = list(self._kind.seeds) if self._kind else [Table(2, 1, ()), Table(2, 2, ((3, 1, 9),) * 3)]
        self._seeds = seeds
        self._best: list[tuple[float, Any]] = [(0.0, seed) for seed in seeds]
        self.worst: dict[str, list[tuple[float, int, int, str]]] = {"blocked": [], "grown": []}
        self.tried = self.large = self.failed = 0

    def _write(self, recipe: Any) -> bytes:  # noqa: ANN401  a Recipe or a Table
        if self._kind:
            return self._kind.send(bake(recipe))
        path = PREDICT + "?on_error=reject" * self._random.randrange(2)
        return frame(path, ARROW, write_table(recipe, is_file=self._is_file))

    def _draw(self) -> Any:  # noqa: ANN401  a Recipe or a Table
        pool = [recipe for _, recipe in self._best] if self._random.random() < 0.7 else self._seeds
        recipe = self._random.choice(pool)
        if not self._kind:
            return change_table(recipe, self._random)
        return change(recipe, self._kind, pool, self._random)

    async def step(self) -> None:
        """Try one input."""
        self.tried += 1
        if self.tried % LARGE_EVERY == 0:
            self.large += 1
            recipe = self._random.choice(self._best)[1]
            recipe = enlarge(recipe, self._random) if self._kind else enlarge_table(recipe, self._random)
            await self._weigh(recipe, self._write(recipe))
            return
        recipe = self._draw()
        data = self._write(recipe)
        spent = await self._time(data)
        if spent > SUSPICIOUS_SECONDS:
            await self._weigh(recipe, data)
        # Per byte, with some bytes for what every request costs.
        if spent / (len(data) + 500) > self._best[0][0] or len(self._best) < KEPT:
            spent = min(spent, await self._time(data), await self._time(data))
            self._keep(spent / (len(data) + 500), recipe)

    async def _time(self, data: bytes) -> float:
        before = time.process_time()
        cost = await self._service.send([data])
        self.failed += cost.status == 500
        return time.process_time() - before

    def _keep(self, cost: float, recipe: Any) -> None:  # noqa: ANN401  a Recipe or a Table
        self._best = sorted([*self._best, (cost, recipe)], key=lambda one: one[0])[-KEPT:]

    async def _weigh(self, recipe: Any, data: bytes) -> None:  # noqa: ANN401  a Recipe or a Table
        costs = [await self._service.send([data], weighs=True)]
        self.failed += costs[0].status == 500
        while len(costs) < 4 and self._is_notable(_take_least(costs), len(data)) and costs[0].seconds < 5:
            costs.append(await self._service.send([data], weighs=True))
        least = _take_least(costs)
        beyond = max(0, least.grown - len(data))
        for what, value in (("blocked", least.blocked), ("grown", float(beyond))):
            found = self.worst[what]
            found.append((value, len(data), least.status, _describe(recipe)))
            found.sort(reverse=True)
            del found[2 * WORST :]

    def _is_notable(self, cost: Cost, size: int) -> bool:
        blocked, grown = self.worst["blocked"], self.worst["grown"]
        return cost.blocked > max(0.02, blocked[0][0] if blocked else 0.0) or cost.grown - size > max(
            2e7, grown[0][0] if grown else 0.0
        )


def _take_least(costs: list[Cost]) -> Cost:
    return Cost(
        costs[0].status,
        min(cost.blocked for cost in costs),
        min(cost.seconds for cost in costs),
        min(cost.grown for cost in costs),
    )


def _describe(recipe: Any) -> str:  # noqa: ANN401  a Recipe or a Table
    if isinstance(recipe, Table):
        return str(recipe)
    return " + ".join(f"{piece[:60]!r} * {times}" for piece, times in recipe if measure(((piece, times),)) > 0)[:500]


async def search(name: str, seed: int, inputs: int, seconds: float, models: Path) -> None:
    """Search in this process, and print the result now and then as a line of JSON."""
    logging.disable()
    ends, reported = time.monotonic() + seconds, 0.0
    async with serve(models) as service:
        found = Search(service, name, Random(seed))  # noqa: S311  no secret
        await service.send([frame(PREDICT, ARROW, write_table(Table(2, 1, ()), is_file=False))])
        gc.collect()
        gc.freeze()
        while found.tried < inputs and time.monotonic() < ends:
            await found.step()
            if time.monotonic() - reported > 5:
                reported = time.monotonic()
                _report(found)
        _report(found)


def _report(found: Search) -> None:
    counts = {"tried": found.tried, "large": found.large, "failed": found.failed}
    print(json.dumps(counts | {"worst": found.worst}), flush=True)


def run_children(name: str, inputs: int, seconds: float, seed: int, models: Path) -> dict[str, Any]:
    """Search in child processes until all inputs are tried or the time is over; return the joined results."""
    total: dict[str, Any] = {"tried": 0, "large": 0, "failed": 0, "ended": 0, "worst": {"blocked": [], "grown": []}}
    ends = time.monotonic() + seconds
    while total["tried"] < inputs and time.monotonic() < ends:
        command = [sys.executable, __file__, "--child", name, "--seed", str(seed), "--models", str(models)]
        command += ["--inputs", str(inputs - total["tried"]), "--seconds", str(ends - time.monotonic())]
        child = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)  # noqa: S603
        lines = [line for line in child.stdout.splitlines() if line.startswith("{")]
        result = json.loads(lines[-1]) if lines else {"tried": 1, "large": 0, "failed": 0, "worst": {}}
        for key in ("tried", "large", "failed"):
            total[key] += result[key]
        for what, worst in result["worst"].items():
            total["worst"][what] = sorted([*total["worst"][what], *worst], reverse=True)[:WORST]
        total["ended"] += child.returncode != 0
        seed += 1000
    return total


async def measure_known(models: Path) -> None:
    """Measure the known costly inputs in this process, and print them as lines of JSON."""
    logging.disable()
    async with serve(models) as service:
        await service.send([frame(PREDICT, ARROW, write_table(Table(2, 1, ()), is_file=False))])
        gc.collect()
        gc.freeze()
        for name, data, own in list_known():
            costs = [await service.send([data], weighs=True)]
            while len(costs) < 3 and (costs[0].blocked > BLOCKED_SECONDS / 4 or costs[0].grown - own > GROWN_BYTES / 2):
                costs.append(await service.send([data], weighs=True))
            least = _take_least(costs)
            figures = {"status": least.status, "blocked": least.blocked, "grown": max(0, least.grown - own)}
            print(json.dumps({"name": name} | figures), flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs of each media type")
    parser.add_argument("--seconds", type=float, default=900, help="longest time for each media type")
    parser.add_argument("--media-type", choices=MEDIA_TYPES, action="append", help="all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--known", action="store_true", help="only measure the known costly inputs; as lines of JSON")
    parser.add_argument("--child", choices=MEDIA_TYPES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Search, and print a table."""
    arguments = parse_arguments()
    if arguments.child:
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
        uvloop.run(
            search(arguments.child, arguments.seed, arguments.inputs, arguments.seconds, arguments.models.resolve())
        )
        return
    if arguments.known:
        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
        uvloop.run(measure_known(arguments.models.resolve()))
        return
    print(f"bounds: {BLOCKED_SECONDS * 1e3:.0f} ms of the event loop, {GROWN_BYTES / 1e6:.0f} MB beyond the body")
    exceeded = False
    for name in arguments.media_type or MEDIA_TYPES:
        found = run_children(name, arguments.inputs, arguments.seconds, arguments.seed, arguments.models)
        worst = {what: values[0][0] if values else 0.0 for what, values in found["worst"].items()}
        exceeded |= worst["blocked"] > BLOCKED_SECONDS or worst["grown"] > GROWN_BYTES or found["failed"] > 0
        print(
            f"{name}: {found['tried']} inputs ({found['large']} large), {found['failed']} answered with 500, "
            f"{found['ended']} processes ended; worst: {worst['blocked'] * 1e3:.1f} ms, {worst['grown'] / 1e6:.1f} MB"
        )
        for what, unit, scale in (("blocked", "ms", 1e3), ("grown", "MB", 1e-6)):
            for value, size, status, text in found["worst"][what]:
                print(f"    {value * scale:6.1f} {unit}  {size:9} bytes  {status}  {text}", flush=True)
    sys.exit(exceeded)


if __name__ == "__main__":
    main()
