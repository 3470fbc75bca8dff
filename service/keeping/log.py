"""The records of a worker: collected in the event loop, and handed over in frames."""

from __future__ import annotations

import asyncio
from time import time_ns
from typing import TYPE_CHECKING

from records.messages import Block, Many, Single, Texts
from service.errors import RequestProblem
from service.keeping.behind import FilingDispatcher
from service.keeping.durable import DurableDispatcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from records.messages import Entry, Origin
    from service.keeping.dispatch import Dispatcher, Keep
    from service.observe.record_metrics import RecordMetrics
    from service.settings import Settings

FRAME_ENTRIES = 256
"""Entries of a frame in mode behind; encoding them takes about 0.2 ms."""

FRAME_BYTES = 256 * 1024
"""Size of bodies and blocks after which a frame is sent."""

MAX_DELAY = 0.05
"""Longest time in seconds until records are handed over in mode behind: what a kill takes with it."""


class DecisionLog:
    """Collects the records of a worker. All methods are to be called in the event loop.

    Parameters
    ----------
    settings : Settings
        With `records`.
    metrics : RecordMetrics

    Attributes
    ----------
    is_durable : bool
        Whether answers wait for their records.
    check : callable
        Raises a `RequestProblem` (503) if a record could not be kept now, and an answer may not go without one.
    """

    def __init__(self, settings: Settings, metrics: RecordMetrics) -> None:
        self._frames: Dispatcher = (
            DurableDispatcher(settings, metrics, self._go_on, self._give_up)
            if settings.records_mode == "durable"
            else FilingDispatcher(settings, metrics, self._go_on)
        )
        self.is_durable = self._frames.is_durable
        self.check = self._frames.check
        self._delay = min(MAX_DELAY, settings.records_lag / 5)
        self._entries: list[Entry] = []
        self._count = self._bytes = 0  # customers and bytes of these entries
        self._callbacks: list[Keep] = []
        self._origins: dict[int, int] = {}
        self._origin_fields: list[Origin] = []
        self._is_scheduled = False

    async def start(self) -> None:
        """Start the writer, and wait for the store for a while."""
        self._loop = asyncio.get_running_loop()
        await self._frames.start()

    async def close(self) -> None:
        """Hand over the rest, wait until it is kept, and end the writer."""
        self._flush()
        await self._frames.close()

    @property
    def process_id(self) -> int | None:
        """The process of the writer, if it runs."""
        return self._frames.process_id

    # What is recorded

    def add_single(
        self,
        request_id: str,
        key: str | None,
        identifier: str | int | None,
        body: bytes,
        probability: float,
        origin: Origin,
        reasons: str | None = None,
        read_as: str | None = None,
    ) -> None:
        """Record a request with one customer; `body` is what was sent."""
        number = self._origins.get(id(origin))
        if number is None:
            number = self._name(origin)
        # Positional: it is called for every request.
        self._entries.append(
            Single(time_ns() // 1000, request_id, key, identifier, body, probability, number, reasons, read_as)
        )
        self._count += 1
        if not self._is_scheduled:
            self._schedule()
        elif len(self._entries) >= FRAME_ENTRIES and not self.is_durable:
            self._flush()

    def add_many(
        self,
        request_id: str,
        key: str | None,
        identifiers: Sequence[str | int | None] | None,
        body: bytes,
        probabilities: list[float],
        origins: Sequence[Origin],
        reasons: list[str] | None = None,
        read_as: str | None = None,
    ) -> None:
        """Record a request with a list of customers, each with the origin of its probability."""
        named = None if identifiers is None else list(identifiers)
        numbers = list(map(self._name, origins))
        moment = time_ns() // 1000
        self._add(Many(moment, request_id, key, named, body, probabilities, numbers, reasons, read_as), len(body))

    def add_texts(
        self,
        request_id: str,
        key: str | None,
        identifiers: Sequence[str | int | None] | None,
        inputs: list[str],
        probabilities: list[float],
        origins: Sequence[Origin],
        reasons: list[str] | None = None,
    ) -> None:
        """Record customers whose inputs were written as JSON.

        `origins` has the origin of each probability, or a single one if it is that of all.
        """
        named = None if identifiers is None else list(identifiers)
        first, numbers = self._name_all(origins)
        moment = time_ns() // 1000
        self._add(
            Texts(moment, request_id, key, named, inputs, probabilities, first, reasons, None, numbers),
            sum(map(len, inputs)),
        )

    def add_block(
        self,
        request_id: str,
        key: str | None,
        identifier: str,
        rows: bytes,
        probabilities: list[float],
        origins: Sequence[Origin],
        reasons: list[str] | None,
        read_as: str | None,
    ) -> None:
        """Record rows of a table, which are an Arrow stream; `identifier` is the name of a column.

        `origins` is as in `add_texts`.
        """
        first, numbers = self._name_all(origins)
        moment = time_ns() // 1000
        self._add(
            Block(moment, request_id, key, identifier, rows, probabilities, first, reasons, read_as, numbers),
            len(rows),
        )

    # What waits for it

    def when_kept(self, call: Keep) -> None:
        """Call a function when all that was added so far is kept, or at once if nothing need be waited for.

        Functions are called in the order in which they were passed here.
        """
        if not self.is_durable:
            call("")
        elif self._entries:
            self._callbacks.append(call)
        elif self._frames.is_under_way:
            self._frames.wait_for_last(call)
        else:
            call("")

    async def kept(self) -> None:
        """Wait until all that was added so far is kept; in mode behind, only until there is room for more.

        Raises
        ------
        RequestProblem
            503 if it is not kept.
        """
        if not self.is_durable:
            await self._frames.room.wait()
            return
        result: asyncio.Future[str] = self._loop.create_future()
        self.when_kept(lambda reason: None if result.done() else result.set_result(reason))
        if reason := await result:
            raise RequestProblem.not_recorded(reason)

    async def settled(self) -> None:
        """Wait until what was added so far is dealt with, one way or the other."""
        done = asyncio.Event()
        self.when_kept(lambda _: done.set())
        await done.wait()

    # Frames

    def _name(self, origin: Origin) -> int:
        """Return the position of an origin in the frame that is being collected."""
        number = self._origins.get(id(origin))
        if number is None:
            number = self._origins[id(origin)] = len(self._origin_fields)
            self._origin_fields.append(origin)
        return number

    def _name_all(self, origins: Sequence[Origin]) -> tuple[int, list[int] | None]:
        """Return the position of the first origin, and those of all customers if they may differ."""
        numbers = list(map(self._name, origins)) if len(origins) > 1 else None
        return self._name(origins[0]), numbers

    def _add(self, entry: Many | Texts | Block, size: int) -> None:
        self._entries.append(entry)
        self._count += len(entry.probabilities)
        self._bytes += size
        if not self._is_scheduled:
            self._schedule()
        if self._bytes >= FRAME_BYTES and not self.is_durable:
            self._flush()

    def _schedule(self) -> None:
        self._is_scheduled = True
        if not self.is_durable:
            self._loop.call_later(self._delay, self._flush_late)
        elif not self._frames.is_under_way:
            self._loop.call_soon(self._flush)

    def _flush_late(self) -> None:
        self._is_scheduled = False
        self._flush()

    def _flush(self) -> None:
        """Hand over what was collected.

        In mode durable one frame is under way at a time: what comes meanwhile shares the next transaction.
        """
        if self.is_durable:
            self._is_scheduled = False
        if not self._entries:
            return
        entries, self._entries = self._entries, []
        callbacks, self._callbacks = self._callbacks, []
        origins, self._origin_fields, self._origins = self._origin_fields, [], {}
        count, self._count, self._bytes = self._count, 0, 0
        self._frames.put(entries, origins, count, callbacks)

    def _go_on(self) -> None:
        """Hand over what has waited for the frame that was under way."""
        if self.is_durable and self._entries and not self._frames.is_under_way:
            self._flush()

    def _give_up(self, reason: str) -> None:
        """Say that what was collected will not be kept in time."""
        callbacks, self._callbacks = self._callbacks, []
        for call in callbacks:
            call(reason)

    def flush(self) -> None:
        """Report what waits; called before each scrape."""
        self._frames.report(self._count)
