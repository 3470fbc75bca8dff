"""Takes the bodies of requests in: within limits, and worked on where that disturbs others least."""

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
"""Bodies up to this size are worked on in the event loop, larger ones in a thread; see docs/performance.md.

A body of this size takes about 2 ms, less than health checks would notice; a hop to a thread costs 0.1 ms and pays
only where it keeps the loop free for others."""


MIN_BYTES_PER_SECOND = 500
"""A body that arrives more slowly than this on average, beside the pause that is allowed, is given up: a client that
sends a byte now and then would hold its place for ever."""


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole."""


class TimedReceive:
    """An ASGI request's `receive` for its body, with limits on how long it waits.

    Parameters
    ----------
    receive : callable
    pause_seconds : float
        Longest pause between two parts of the body.
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
            408 if it does not come in time.
        """
        started = monotonic()
        try:
            async with asyncio.timeout(min(self._pause_seconds, self._allowance)):
                message = await self._receive()
        except TimeoutError:
            raise RequestProblem.body_too_slow(self._pause_seconds, MIN_BYTES_PER_SECOND) from None
        self._allowance += len(message.get("body", b"")) / MIN_BYTES_PER_SECOND - (monotonic() - started)
        return message


class Intake:
    """What all routes that score share in one worker: the limits on bodies, and the thread for large ones.

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
        # One thread: the interpreter runs one at a time anyway, and a second would only hold more memory.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Work in the thread and return what comes of it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def limit(self, receive: Receive) -> TimedReceive:
        """Return a request's `receive` with the limits on the time that a body may take."""
        return TimedReceive(receive, self._pause_seconds)

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Count a request that is worked on while it arrives; yield what says how many bytes are held for it.

        That raises a `RequestProblem`, 503, if too much is waiting already.
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
        """Receive a body and return what `work` makes of it.

        Parameters
        ----------
        announced : int
            The request's Content-Length; 0 if it has none.
        receive : callable
            The ASGI request's.
        work : callable
            Called with the whole body, in the event loop or in a thread.
        encoding : str, optional
            How the body is compressed.

        Raises
        ------
        RequestProblem
            408 if the body stops, 413 if it is too large, 503 if too much is waiting already.
        ClientLeftError
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
        # What is compressed may be much longer than it looks.
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
        """Collect a body that comes in parts, and work on it in the thread if it is large."""
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
