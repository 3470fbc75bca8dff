"""The response to a table, which is created block by block and sent when the request has ended.

The status comes first, so a response that has started can't become an error. In addition, many proxies and clients
don't read while they send: nginx stops sending the body of a request when the response starts. Therefore the response
is held until the request has ended. It starts earlier only with ``on_error=reject``, if it is too large to be held.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.errors import RequestProblem
from service.guard.deadline import ClientLeftError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Send

    from service.tables.blocks import ResponsePart
    from service.tables.spool import Budget, Spool


class StalledError(Exception):
    """The client does not read its response, and no more of it can be held."""


class TableResponse:
    """Response to one table.

    Parameters
    ----------
    send : callable
        The ASGI send callable.
        headers : list of (bytes, bytes)
    spool : Spool
    budget : Budget
        Budget of the spool.
    may_begin_early : bool
        Whether the response may start before the request has ended if no more can be held; otherwise the table is
        rejected.
    stall_seconds : float
        Maximum time in which the client then reads nothing.

    Attributes
    ----------
    has_begun : bool
        Whether the status has been sent.
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
        """Whether the next block would be held where room is getting short, so that it should be compressed."""
        return (self._sending is None or bool(self._spool)) and self._budget.is_filling

    def abandon(self) -> None:
        """Stop sending, because the client has disconnected."""
        self._is_abandoned = True
        self._changed.set()

    async def put(self, block: ResponsePart, rows: int) -> None:
        """Hold or send a block; `rows` is the number of rows in the response so far.

        Raises
        ------
        RequestProblem
            If no more can be held and the response may not start yet.
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
        """Send the held blocks and the end; `count` is called just before the end.

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
        """Discard the held blocks."""
        if self._sending is not None and not self._sending.done():
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await self._spool.close()

    def _find_refusal(self, rows: int) -> RequestProblem:
        if self._spool.memory > self._budget.memory_limit:  # independently of other responses
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
            await asyncio.sleep(0)  # lets the task run that notices a disconnect
        self._count()
        await self._send({"type": "http.response.body", "body": b""})
