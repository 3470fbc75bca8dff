"""A search among the inputs of one media type; ``costliest.py`` runs it.

Small inputs are changed at random, and judged by their CPU time per byte; the costliest are kept and changed again. For
a share of the time, the costliest are repeated up to 16 MB and weighed, or the worst such inputs so far are changed
again. What seems costly is measured several times, and the least counts, since other processes of the machine disturb.
"""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from in_process import PREDICT, Cost, InProcess, frame
from recipes import (
    ARROW,
    CSV,
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

from service.tables.endpoint import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from service.media_types import TableFormat

BLOCKED_SECONDS = 0.1
GROWN_BYTES = 64 * 10**6
LARGE_SHARE = 0.2
"""Share of the time that is spent on large inputs."""

WHOLE_EVERY = 20
"""One in so many small tables goes through the whole service, the others only through what it does in its thread."""

BEST_SHARE = 0.15
"""Share of the time for small inputs that is spent on changes of the costliest; the rest is for ordinary ones."""

KEPT = 40
"""Costliest small inputs that are changed again."""

CLIMBERS = 10
"""Worst large inputs that are changed again."""

WORST = 5
SUSPICIOUS_SECONDS = 0.05
REQUEST_BYTES = 500
"""Bytes that are added to those of an input, so that the smallest ones are not always the costliest per byte."""

ARROWS = {"Arrow stream": False, "Arrow file": True}
"""Media types of tables described by numbers, and whether they are files."""

FORMS: dict[str, TableFormat] = {"CSV": "csv", "Arrow stream": "arrow", "Arrow file": "arrow"}
"""Media types of tables."""

MEDIA_TYPES = [*KINDS, *ARROWS]


class Weighed(NamedTuple):
    """A large input.

    Attributes
    ----------
    share : float
        Of the bound that it comes closer to.
    blocked : float
        Longest time in seconds for which the event loop could do nothing else.
    grown : float
        Bytes by which the memory grew, beyond its own.
    size, status : int
    recipe : Recipe or Table
    """

    share: float
    blocked: float
    grown: float
    size: int
    status: int
    recipe: Any


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
        self._seeds: list[Any] = (
            list(self._kind.seeds) if self._kind else [Table(2, 1, ()), Table(2, 2, ((3, 1, 9),) * 3)]
        )
        self._best: list[tuple[float, Any]] = [(0.0, seed) for seed in self._seeds]
        self._weighed: list[Weighed] = []
        self._form = FORMS.get(name)
        self._floor = 0.0
        self._spent = self._spent_on_best = self._spent_on_large = 0.0
        self.tried = self.large = self.failed = 0

    def list_worst(self) -> dict[str, list[tuple[float, int, int, str]]]:
        """Return value, size, status and description of the worst inputs, by what they cost."""
        return {
            what: [
                (getattr(one, what), one.size, one.status, _describe(one.recipe))
                for one in sorted(self._weighed, key=lambda one: -getattr(one, what))[:WORST]
            ]
            for what in ("blocked", "grown")
        }

    async def begin(self) -> None:
        """Measure what an ordinary input costs."""
        body = self._write(self._seeds[0])
        self._floor = min([(await self._time(body, rejects=True)).computed for _ in range(50)])

    async def step(self) -> None:
        """Try one input."""
        self.tried += 1
        if self._spent_on_large < LARGE_SHARE / (1 - LARGE_SHARE) * self._spent:
            self.large += 1
            began = process_time()
            recipe = self._draw_large()
            await self._weigh(recipe, self._write(recipe))
            self._spent_on_large += process_time() - began
            return
        of_best = self._spent_on_best < BEST_SHARE * self._spent
        recipe = self._draw([recipe for _, recipe in self._best] if of_best else self._seeds)
        body, rejects = self._write(recipe), self._random.random() < 0.8
        if self._form is not None and self.tried % WHOLE_EVERY == 0:
            self.failed += (await self._service.send(self._frame(body, rejects=rejects))).status == 500
            return
        cost = await self._time(body, rejects=rejects)
        self._spent += cost.computed
        self._spent_on_best += cost.computed * of_best
        if cost.computed > SUSPICIOUS_SECONDS:
            await self._weigh(recipe, body)
        if self._judge(cost, body) > self._best[0][0] or len(self._best) < KEPT:
            cost = take_least([cost, *[await self._time(body, rejects=rejects) for _ in range(2)]])
            self._best = sorted([*self._best, (self._judge(cost, body), recipe)], key=lambda one: one[0])[-KEPT:]

    def _write(self, recipe: Any) -> bytes:  # noqa: ANN401  a Recipe or a Table
        return bake(recipe) if self._kind else write_table(recipe, is_file=self._is_file)

    def _frame(self, body: bytes, *, rejects: bool = True) -> bytes:
        if self._form is None:
            assert self._kind is not None  # noqa: S101  a table has a form
            return self._kind.send(body)
        return frame(PREDICT + "?on_error=reject" * rejects, CSV if self._form == "csv" else ARROW, body)

    def _draw(self, pool: Sequence[Any]) -> Any:  # noqa: ANN401  a Recipe or a Table
        recipe = self._random.choice(pool)
        if not self._kind:
            return change_table(recipe, self._random)
        return change(recipe, self._kind, pool, self._random)

    async def _time(self, body: bytes, *, rejects: bool) -> Cost:
        if self._form is None or len(body) > BLOCK_BYTES:
            cost = await self._service.send(self._frame(body, rejects=rejects))
        else:
            cost = self._service.work(self._form, body, rejects=rejects)
        self.failed += cost.status == 500
        return cost

    def _judge(self, cost: Cost, body: bytes) -> float:
        """Return the cost per byte, beyond that of an ordinary input."""
        return (cost.computed - self._floor) / (len(body) + REQUEST_BYTES)

    def _draw_large(self) -> Any:  # noqa: ANN401  a Recipe or a Table
        """Return a large input: one of the worst with a change, or one of the best small ones enlarged."""
        worst = [one.recipe for one in self._weighed[:CLIMBERS]]
        climbs = bool(worst) and self._random.random() < 0.5
        recipe = self._random.choice(worst) if climbs else self._random.choice(self._best)[1]
        if not self._kind:
            return enlarge_table(change_table(recipe, self._random) if climbs else recipe, self._random)
        if climbs:
            recipe = change(tuple((piece, min(times, 9)) for piece, times in recipe), self._kind, worst, self._random)
        return enlarge(recipe, self._random)

    async def _weigh(self, recipe: Any, body: bytes) -> None:  # noqa: ANN401  a Recipe or a Table
        data = self._frame(body)
        costs = [await self._service.send(data, weighs=True)]
        self.failed += costs[0].status == 500
        while len(costs) < 4 and self._is_notable(take_least(costs), len(data)):
            costs.append(await self._service.send(data, weighs=True))
        least = take_least(costs)
        grown = float(max(0, least.grown - len(data)))
        share = max(least.blocked / BLOCKED_SECONDS, grown / GROWN_BYTES)
        self._weighed.append(Weighed(share, least.blocked, grown, len(data), least.status, recipe))
        self._weighed.sort(key=lambda one: -one.share)

    def _is_notable(self, cost: Cost, size: int) -> bool:
        """Return whether something costs more than a third of a bound, and nearly as much as the worst."""
        worst = max((one.share for one in self._weighed), default=0.0)
        share = max(cost.blocked / BLOCKED_SECONDS, (cost.grown - size) / GROWN_BYTES)
        return share > max(1 / 3, 0.9 * worst)


def take_least(costs: list[Cost]) -> Cost:
    """Return the least of each figure of several measurements."""
    return Cost(
        costs[0].status,
        min(cost.computed for cost in costs),
        min(cost.blocked for cost in costs),
        min(cost.grown for cost in costs),
    )


def _describe(recipe: Any) -> str:  # noqa: ANN401  a Recipe or a Table
    if isinstance(recipe, Table):
        return str(recipe)
    return " + ".join(f"{piece[:60]!r} * {times}" for piece, times in recipe if measure(((piece, times),)) > 0)[:500]
