"""Receive request bodies within limits of size and time, and process large ones outside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from churn.runtime.switching import yield_often
from service.errors import RequestProblem
from service.guard.caller import charge
from service.guard.content_encoding import decode
from service.guard.deadline import ClientLeftError
from service.guard.places import Places, find_party
from service.guard.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from starlette.types import Message, Receive

    from service.guard.deadline import Deadline
    from service.observe.metrics import Metrics
    from service.observe.reason_metrics import ReasonWork
    from service.settings import Settings

T = TypeVar("T")

INLINE_BYTES = 256 * 1024
"""Bodies up to this size are processed in the event loop, larger ones in a thread; see docs/performance.md.

A body of this size takes about 2 ms, which delays other requests too little to be noticed. Switching to a thread costs
0.1 ms, which is worthwhile only for bodies that would block the loop for longer."""

NOTICEABLE_WAIT = 0.05
"""Seconds of waiting for the thread after which a client that has closed its half of the connection counts as gone. One
that closes it at once, and reads its response, is served by an idle thread much earlier."""

MIN_BYTES_PER_SECOND = 500
"""Minimum average rate of a body, in addition to the allowed pause. Without it, a client that sends a byte now and then
would occupy memory indefinitely."""


MAX_STEPWISE = 64
"""Maximum number of requests that are worked on in steps at the same time. They take turns, so that each waits for a
step of all the others: the reasons of 64 customers take about as long as a request may wait by default."""


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

    Attributes
    ----------
    progress : Progress
        Of the thread.
    """

    def __init__(self, metrics: Metrics, settings: Settings) -> None:
        self.progress = Progress()
        self._metrics = metrics
        self._max_body = settings.max_body_bytes
        self._max_pending = settings.max_pending_bytes
        self._pause_seconds = settings.body_seconds
        self._timeout = settings.request_timeout
        self._pending = 0
        self._stepwise = Places(MAX_STEPWISE)
        # One thread: because of the interpreter lock, a second one would only use more memory.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Call `work` in the thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.progress.run, work, *arguments)

    async def run_in_time(self, deadline: Deadline, work: Callable[[bytes], T], body: bytes) -> T:
        """Call `work` in the thread and return its result, unless the request's time ends or its client leaves before.

        Raises
        ------
        RequestProblem
            504 when the time has passed. Work that has begun is not stopped; its result is dropped.
        ClientLeftError
            If the client has left before the work began.
        """
        submitted = perf_counter()
        deadline.watch()

        def begin() -> T:
            deadline.check(has_waited=perf_counter() - submitted > NOTICEABLE_WAIT)
            return work(body)

        remaining = deadline.remaining
        try:
            async with asyncio.timeout(remaining if remaining < float("inf") else None):
                return await self.run(begin)
        except TimeoutError:
            raise deadline.problem from None

    async def run_each(self, deadline: Deadline, steps: Iterator[object], count: int, party: str) -> None:
        """Take the items of an iterator in the thread; other requests use the thread between two items.

        Parameters
        ----------
        deadline : Deadline
        steps : iterator
        count : int
            Number of items. Each costs a change to the thread and back, so that the end is not looked for; without
            items the iterator is begun.
        party : str
            See `service.guard.places.find_party`.

        Raises
        ------
        RequestProblem
            503 if `MAX_STEPWISE` requests are worked on already, or too many of them are this caller's; 504 when the
            time of the request, or ``CHURN_REQUEST_TIMEOUT``, has passed.
        ClientLeftError
            If the client has left.
        """
        deadline.limit(self._timeout, "CHURN_REQUEST_TIMEOUT")
        deadline.watch()
        submitted = perf_counter()
        has_begun = False

        def step() -> None:
            nonlocal has_begun
            deadline.check(has_waited=not has_begun and perf_counter() - submitted > NOTICEABLE_WAIT)
            has_begun = True
            with yield_often():
                next(steps, None)

        with self._stepwise.take(party, RequestProblem.too_many_reasons(self._stepwise.total)):
            self._metrics.in_flight.inc()
            try:
                async with asyncio.timeout(deadline.remaining):
                    for _ in range(max(count, 1)):
                        await self.run(step)
            except TimeoutError:
                raise deadline.problem from None
            finally:
                self._metrics.in_flight.dec()

    async def explain(
        self, scope: Mapping[str, Any], deadline: Deadline, steps: Iterator[object], count: int, work: ReasonWork
    ) -> None:
        """Compute reasons as `run_each` does; charge the caller for them, since the work is done even if it is dropped.

        Parameters
        ----------
        scope : mapping
            Of the ASGI request.
        deadline : Deadline
        steps : iterator
            Explain one customer each.
        count : int
            Number of customers.
        work : ReasonWork
            What the steps take. It is counted as dropped if an error is raised, which is one of `run_each`.
        """
        try:
            await self.run_each(deadline, steps, count, find_party(scope))
        except BaseException:
            self._metrics.reasons.drop(work)
            raise
        finally:
            charge(scope, work.customers, work.evaluations)

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
        self,
        announced: int,
        receive: Receive,
        work: Callable[[bytes], T],
        deadline: Deadline,
        encoding: str | None = None,
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
        deadline : Deadline
            Limited to ``CHURN_REQUEST_TIMEOUT`` from the end of the body.
        encoding : str, optional
            Content encoding of the body. Defaults to none.

        Raises
        ------
        RequestProblem
            408 if the body is too slow, 413 if it is too large, 503 if too many bytes are pending, 504 if the deadline
            has passed before the body is scored.
        ClientLeftError
            If the client disconnects before the body is complete, or leaves while it waits for the thread.
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
            deadline.check()
            return work(body)
        more = message.get("more_body", False)
        return await self._process_slowly(body, receive, work, deadline, inline_bytes, more=more)

    def _decode(self, encoding: str, work: Callable[[bytes], T], body: bytes) -> T:
        return work(decode(body, encoding, self._max_body))

    async def _process_slowly(
        self,
        body: bytes,
        receive: Receive,
        work: Callable[[bytes], T],
        deadline: Deadline,
        inline_bytes: int,
        *,
        more: bool,
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
            deadline.limit(self._timeout, "CHURN_REQUEST_TIMEOUT")
            if size <= inline_bytes:
                deadline.check()
                return work(body)
            return await self.run_in_time(deadline, work, body)
        finally:
            self._pending -= size
            self._metrics.in_flight.dec()

    def _check_room(self, size: int) -> None:
        if size > self._max_body:
            raise RequestProblem.body_too_large(self._max_body)
        if self._pending > self._max_pending:
            raise RequestProblem.overloaded()
