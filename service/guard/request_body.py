"""Receive request bodies within limits of size and time, and process large ones outside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from service.errors import RequestProblem
from service.guard.content_encoding import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message, Receive

    from service.observe.metrics import Metrics
    from service.settings import Settings

T = TypeVar("T")

INLINE_BYTES = 256 * 1024
"""Bodies up to this size are processed in the event loop, larger ones in a thread; see docs/performance.md.

A body of this size takes about 2 ms, which delays other requests too little to be noticed. Switching to a thread costs
0.1 ms, which is worthwhile only for bodies that would block the loop for longer."""

MIN_BYTES_PER_SECOND = 500
"""Minimum average rate of a body, in addition to the allowed pause. Without it, a client that sends a byte now and then
would occupy memory indefinitely."""


class ClientLeftError(Exception):
    """The client disconnected before its request was complete."""


class TimedReceive:
    """Wrap the `receive` callable of an ASGI request with time limits for the body.

    Parameters
    ----------
    receive : callable
    pause_seconds : float
        Maximum time in seconds between two parts of the body.
    """

    def __init__(self, receive: Receive, pause_seconds: float) -> None:
        self._receive = receive
        self._pause_seconds = pause_seconds
        self._allowance = pause_seconds

    async def __call__(self) -> Message:
        """Return the next message.

        Raises
        ------
        RequestProblem
            408 if no message arrives in time, or the average rate is below `MIN_BYTES_PER_SECOND`.
        """
        started = monotonic()
        try:
            async with asyncio.timeout(min(self._pause_seconds, self._allowance)):
                message = await self._receive()
        except TimeoutError:
            raise RequestProblem.body_too_slow(self._pause_seconds, MIN_BYTES_PER_SECOND) from None
        self._allowance += len(message.get("body", b"")) / MIN_BYTES_PER_SECOND - (monotonic() - started)
        return message


class RequestProcessor:
    """Enforce the limits on request bodies for all scoring routes of a worker, and own the thread for large bodies.

    Parameters
    ----------
    metrics : Metrics
    settings : Settings
    """

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self._metrics = metrics
        self._max_body = settings.max_body_bytes
        self._max_pending = settings.max_pending_bytes
        self._pause_seconds = settings.body_seconds
        self._pending = 0
        # One thread: because of the interpreter lock, a second one would only use more memory.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call `work` in the thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def limit(self, receive: Receive) -> TimedReceive:
        """Return a request's `receive` callable with the time limits for bodies."""
        return TimedReceive(receive, self._pause_seconds)

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Count a streamed request as in flight; yield a function that sets the number of bytes held for it.

        The function raises a `RequestProblem` (503) if all requests together would exceed ``CHURN_MAX_PENDING_BYTES``.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            size = min(size, self._max_pending)
            if size > held and self._pending + size - held > self._max_pending:
                raise RequestProblem.overloaded()
            self._pending += size - held
            held = size

        self._metrics.in_flight.inc()
        try:
            yield hold
        finally:
            self._pending -= held
            self._metrics.in_flight.dec()

    async def process(
        self, announced: int, receive: Receive, work: Callable[[bytes], T], encoding: str | None = None
    ) -> T:
        """Receive a body and return the result of `work`.

        Parameters
        ----------
        announced : int
            Content-Length of the request in bytes; 0 if it has none.
        receive : callable
            ASGI receive callable.
        work : callable
            Called with the complete body, in the event loop or in the thread.
        encoding : str, optional
            Content encoding of the body. Defaults to none.

        Raises
        ------
        RequestProblem
            408 if the body is too slow, 413 if it is too large, 503 if too many bytes are pending.
        ClientLeftError
            If the client disconnects before the body is complete.
        """
        if announced > self._max_body:
            raise RequestProblem.body_too_large(self._max_body)
        receive = self.limit(receive)
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        body: bytes = message.get("body", b"")
        if encoding is not None:
            work = partial(self._decode, encoding, work)
        # The size of a compressed body says little about the time it takes.
        inline_bytes = INLINE_BYTES if encoding is None else -1
        if not message.get("more_body") and len(body) <= inline_bytes:
            if len(body) > self._max_body:
                raise RequestProblem.body_too_large(self._max_body)
            return work(body)
        return await self._process_slowly(body, receive, work, inline_bytes, more=message.get("more_body", False))

    def _decode(self, encoding: str, work: Callable[[bytes], T], body: bytes) -> T:
        return work(decode(body, encoding, self._max_body))

    async def _process_slowly(
        self, body: bytes, receive: Receive, work: Callable[[bytes], T], inline_bytes: int, *, more: bool
    ) -> T:
        """Receive the rest of a body, and process it in the thread if it is large."""
        parts, size = [body], len(body)
        self._pending += size
        self._metrics.in_flight.inc()
        try:
            self._check_room(size)
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientLeftError
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._pending += len(part)
                self._check_room(size)
                more = message.get("more_body", False)
            body = b"".join(parts)
            parts.clear()
            if size <= inline_bytes:
                return work(body)
            return await self.run(work, body)
        finally:
            self._pending -= size
            self._metrics.in_flight.dec()

    def _check_room(self, size: int) -> None:
        if size > self._max_body:
            raise RequestProblem.body_too_large(self._max_body)
        if self._pending > self._max_pending:
            raise RequestProblem.overloaded()
