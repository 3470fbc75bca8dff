"""The response to a table, which is made block by block and sent when its request has ended.

A status comes before everything else, so that a response that has begun can no longer become a refusal. And many
proxies and clients do not read while they send: nginx stops sending a request's body when the response begins. So a
response is held until then. Only where a longer one is wanted than can be held (``on_error=reject``) does it begin
before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.errors import RequestProblem
from service.guard.request_body import ClientLeftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Send

    from service.tables.job import Packed
    from service.tables.spool import Budget, Spool


class StalledError(Exception):
    """The client reads nothing of its response, and no more of it can be held."""


class TableResponse:
    """The response to one table.

    Parameters
    ----------
    send : callable
        The ASGI request's.
    headers : list of (bytes, bytes)
    spool : Spool
    budget : Budget
        The spool's.
    may_begin_early : bool
        Whether the response begins before the request has ended when no more can be held; else the table is refused.
    stall_seconds : float
        How long a client may then read nothing.

    Attributes
    ----------
    has_begun : bool
        Whether the status is sent, so that it can't be another any more.
    """

    def __init__(
        self,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        spool: Spool,
        budget: Budget,
        *,
        may_begin_early: bool,
        stall_seconds: float,
    ) -> None:
        self._send = send
        self._headers = headers
        self._spool = spool
        self._budget = budget
        self._may_begin_early = may_begin_early
        self._stall_seconds = stall_seconds
        self._changed, self._taken = asyncio.Event(), asyncio.Event()
        self._is_whole = self._is_abandoned = False
        self._count: Callable[[], None] = lambda: None
        self._sending: asyncio.Task[None] | None = None
        self.has_begun = False

    @property
    def wants_packed(self) -> bool:
        """Whether the next block would be held, and so better be small."""
        return self._sending is None or bool(self._spool)

    def abandon(self) -> None:
        """Send no more: the client has left."""
        self._is_abandoned = True
        self._changed.set()

    async def put(self, block: Packed, rows: int) -> None:
        """Hold or send a block; `rows` is how many are answered so far.

        Raises
        ------
        RequestProblem
            If no more can be held and the response may not begin yet.
        StalledError
        ClientLeftError
        """
        if not block.size:
            return
        await self._spool.put(block)
        self._changed.set()
        if self._sending is None:
            if not self._budget.is_exceeded:
                return
            if not self._may_begin_early:
                raise self._find_refusal(rows)
            await self._begin(self._headers)
            self._sending = asyncio.create_task(self._send_blocks())
        await self._wait_for_room(self._sending)

    async def finish(self, count: Callable[[], None]) -> None:
        """Send what is held, and the end; `count` is called just before that.

        Raises
        ------
        ClientLeftError
        """
        self._is_whole, self._count = True, count
        self._changed.set()
        if self._sending is not None:
            await self._sending
            return
        await self._begin([*self._headers, (b"content-length", b"%d" % self._spool.size)])
        await self._send_blocks()

    async def close(self) -> None:
        """Drop what is held."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._spool.close()

    def _find_refusal(self, rows: int) -> RequestProblem:
        if self._spool.memory > self._budget.memory_limit:  # whatever others hold
            return RequestProblem.answer_too_large(rows)
        return RequestProblem.overloaded("CHURN_MAX_HELD_BYTES")

    async def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _wait_for_room(self, sending: asyncio.Task[None]) -> None:
        while self._budget.is_exceeded and self._spool.memory and not sending.done():
            self._taken.clear()
            try:
                await asyncio.wait_for(self._taken.wait(), self._stall_seconds)
            except TimeoutError:
                raise StalledError(
                    f"the client read nothing of its response for {self._stall_seconds:g} s while it sent, and no more "
                    f"than {self._budget.memory_limit} bytes in memory (CHURN_MAX_HELD_BYTES) and "
                    f"{self._budget.file_limit} on disk (CHURN_MAX_SPILLED_BYTES) are held"
                ) from None
        if sending.done():
            await sending

    async def _send_blocks(self) -> None:
        while self._spool or not self._is_whole:
            if self._is_abandoned:
                raise ClientLeftError
            if not self._spool:
                self._changed.clear()
                await self._changed.wait()
                continue
            body = await self._spool.take()
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self._taken.set()
            await asyncio.sleep(0)  # whoever notices that the client has left gets a turn
        self._count()
        await self._send({"type": "http.response.body", "body": b""})
