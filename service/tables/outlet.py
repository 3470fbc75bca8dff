"""Sends an answer that is made block by block: at once, or when it is known to be whole."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from service.errors import RequestProblem
from service.guard.request_body import ClientLeftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Send

    from service.tables.job import Packed


class StalledError(Exception):
    """The client sends on, takes nothing, and no more can be held for it."""


class Held:
    """The answers held in one worker.

    Parameters
    ----------
    limit : int
        In bytes.

    Attributes
    ----------
    total : int
        Bytes held now, by all requests.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.total = 0


class Outlet:
    """Where the blocks of one answer go.

    Parameters
    ----------
    send : callable
        The ASGI request's.
    headers : list of (bytes, bytes)
    held : Held
    stall_seconds : float
        How long a client may take nothing of its answer while no more of it can be held.
    streams : bool
        Whether to send while blocks still come. A client that is busy with sending may take nothing meanwhile, so
        blocks are held for it all the same, and only when no more can be is it made to wait.

    Attributes
    ----------
    has_begun : bool
        Whether the status is sent, so that it can't be another any more.
    """

    def __init__(
        self, send: Send, headers: list[tuple[bytes, bytes]], held: Held, stall_seconds: float, *, streams: bool
    ) -> None:
        self._send = send
        self._headers = headers
        self._held = held
        self._stall_seconds = stall_seconds
        self._streams = streams
        self._blocks: deque[Packed] = deque()
        self._own = self._size = 0
        self._changed, self._taken = asyncio.Event(), asyncio.Event()
        self._is_whole = self._is_abandoned = False
        self._count: Callable[[], None] = lambda: None
        self._sending: asyncio.Task[None] | None = None
        self.has_begun = False

    @property
    def wants_packed(self) -> bool:
        """Whether the next block would be held, and so better be small."""
        return not self._streams or bool(self._blocks)

    def abandon(self) -> None:
        """Send no more: the client is gone."""
        self._is_abandoned = True
        self._changed.set()

    async def put(self, block: Packed, rows: int) -> None:
        """Send or hold a block; `rows` is how many are answered so far.

        Raises
        ------
        RequestProblem
            If what must be held is more than may be.
        StalledError
        ClientLeftError
        """
        if not block.size:
            return
        self._blocks.append(block)
        self._own += len(block.data)
        self._held.total += len(block.data)
        self._size += block.size
        self._changed.set()
        if not self._streams:
            if self._own > self._held.limit:
                raise RequestProblem.answer_too_large(rows, self._held.limit)
            if self._held.total > self._held.limit:
                raise RequestProblem.overloaded("CHURN_MAX_HELD_BYTES")
            return
        if self._sending is None:
            await self._begin(self._headers)
            self._sending = asyncio.create_task(self._send_blocks())
        await self._wait_for_room(self._sending)

    async def finish(self, count: Callable[[], None]) -> None:
        """Send what is left, and the end; `count` is called just before that.

        Raises
        ------
        ClientLeftError
        """
        self._is_whole, self._count = True, count
        self._changed.set()
        if self._sending is not None:
            await self._sending
            return
        await self._begin([*self._headers, (b"content-length", b"%d" % self._size)])
        await self._send_blocks()

    async def close(self) -> None:
        """Let go of what is held."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        self._held.total -= self._own
        self._own = 0
        self._blocks.clear()

    async def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _wait_for_room(self, sending: asyncio.Task[None]) -> None:
        while self._held.total > self._held.limit and self._own and not sending.done():
            self._taken.clear()
            try:
                await asyncio.wait_for(self._taken.wait(), self._stall_seconds)
            except TimeoutError:
                raise StalledError(
                    f"the client took nothing of its answer for {self._stall_seconds:g} s while it sent, and no more "
                    f"than {self._held.limit} bytes (CHURN_MAX_HELD_BYTES) are held"
                ) from None
        if sending.done():
            await sending

    async def _send_blocks(self) -> None:
        while self._blocks or not self._is_whole:
            if self._is_abandoned:
                raise ClientLeftError
            if not self._blocks:
                self._changed.clear()
                await self._changed.wait()
                continue
            block = self._blocks.popleft()
            await self._send({"type": "http.response.body", "body": block.unpack(), "more_body": True})
            self._own -= len(block.data)
            self._held.total -= len(block.data)
            self._taken.set()
            await asyncio.sleep(0)  # whoever notices that the client has left gets a turn
        self._count()
        await self._send({"type": "http.response.body", "body": b""})
