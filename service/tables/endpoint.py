"""`POST /predict` with a table (CSV or Arrow): read, scored and answered block by block while it arrives.

Nothing of a table is scored in the event loop, and of a table of any size a few blocks are in memory at once. A refusal
needs a status, which comes before everything else: so an answer is held, compressed, until the last row is known to be
good, unless the client asks for what can't be scored beside the rest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from churn.numerals import MARKS
from service.errors import Problem, RequestProblem, report_failure
from service.guard.content_encoding import find_encoding
from service.guard.request_body import ClientLeftError
from service.media_types import ARROW, CSV, Form, check_parameters
from service.tables.response import StalledError, TableResponse
from service.tables.spool import Budget, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from churn.scorer import Scorer
    from service.guard.request_body import Intake
    from service.observe.metrics import Metrics
    from service.settings import Settings
    from service.tables.job import Block, TableJob

BLOCK_BYTES = 512 * 1024
"""Of a table worked on at once: about 8,000 customers, so that what lies between stays in the processor's cache, and
nobody else waits for the thread for more than some milliseconds."""

RESERVED_BYTES = 4 * 2**20
"""What a table takes of the bytes that may be pending as long as it lasts: a block that is worked on, in its several
forms, and the next, which arrives meanwhile."""

ON_ERROR = ("fail", "reject")

ANSWERS: dict[Form, bytes] = {"csv": f"{CSV}; charset=utf-8; header=present".encode(), "arrow": ARROW.encode()}
"""The Content-Type of an answer."""


def read_on_error(scope: Scope) -> bool:
    """Return whether rows that can't be scored are wanted beside the scores: ``?on_error=reject``.

    Raises
    ------
    RequestProblem
        400 if it is something else.
    """
    return _read_parameter(scope, "on_error", ON_ERROR) == "reject"


def read_decimal(scope: Scope) -> str | None:
    """Return how the numbers of a table are written, if ``?decimal=`` says it.

    Raises
    ------
    RequestProblem
        400 if it is neither a point nor a comma.
    """
    return _read_parameter(scope, "decimal", MARKS)


def _read_parameter(scope: Scope, name: str, allowed: Sequence[str]) -> str | None:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    value: str | None = query.get(name, [None])[-1]
    if value is not None and value not in allowed:
        raise RequestProblem.parameter(name, value, " or ".join(allowed))
    return value


class Body:
    """A request's body in pieces of `BLOCK_BYTES`.

    Parameters
    ----------
    receive, limited : callable
        The ASGI request's; the same with a limit on the time it waits.
    """

    def __init__(self, receive: Receive, limited: Receive) -> None:
        self._receive_at_leisure = receive
        self._receive = limited
        self._rest = b""
        self._more = True

    async def take(self) -> tuple[bytes, bool]:
        """Return the next piece, and whether it is the last.

        Raises
        ------
        ClientLeftError
        """
        parts, size = [self._rest], len(self._rest)
        while size < BLOCK_BYTES and self._more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientLeftError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            self._more = message.get("more_body", False)
        whole = b"".join(parts)
        self._rest = whole[BLOCK_BYTES:]
        return whole[:BLOCK_BYTES], not self._more and not self._rest

    async def wait_for_end(self) -> None:
        """Return when the client has left, or has its answer."""
        await self._receive_at_leisure()


class BrokenOffError(Exception):
    """An answer that had begun could not be ended; the connection must be cut, so that it is not taken for whole.

    Attributes
    ----------
    problem : Problem
        What the client would have been told.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class BulkEndpoint:
    """Scores tables.

    Parameters
    ----------
    metrics : Metrics
    intake : Intake
    settings : Settings
    """

    def __init__(self, metrics: Metrics, intake: Intake, settings: Settings) -> None:
        self._metrics = metrics
        self._intake = intake
        self._max_part = settings.max_body_bytes
        self._budget = Budget(settings.max_held_bytes, settings.max_spilled_bytes)
        self._stall_seconds = settings.send_seconds

    async def answer(
        self, scope: Scope, receive: Receive, send: Send, form: Form, scorer: Scorer, count: Callable[[], None]
    ) -> None:
        """Answer a request; `count` is called when it is, just before the client knows.

        Raises
        ------
        Exception
            A `Problem`, a `ClientLeftError` or what nobody foresaw, before anything was sent.
        ClientLeftError, BrokenOffError
            Afterwards.
        """
        headers = dict(scope["headers"])
        rejects, decimal = read_on_error(scope), read_decimal(scope)
        if form == "csv":
            check_parameters(headers[b"content-type"].decode("latin-1"))
        find_encoding(scope["headers"], allowed=())
        # HTTP/1.0 tells an answer that was cut off from a whole one by its length alone, so that must be known.
        response = TableResponse(
            send,
            [(b"content-type", ANSWERS[form])],
            Spool(self._budget, self._intake.run),
            self._budget,
            may_begin_early=rejects and scope.get("http_version") != "1.0",
            stall_seconds=self._stall_seconds,
        )
        try:
            with self._intake.reserve() as hold:
                hold(RESERVED_BYTES)
                body = Body(receive, self._intake.limit(receive))
                job = await self._intake.run(self._open, scorer, form, rejects, decimal)
                await self._score(job, body, response, hold)

                def count_all() -> None:
                    self._metrics.count_batch(job.rows)
                    count()

                await self._finish(response, body, count_all)
        except ClientLeftError:
            raise
        except Exception as error:
            if not response.has_begun:
                raise
            raise BrokenOffError(_name(error)) from error
        finally:
            await response.close()

    def _open(self, scorer: Scorer, form: Form, rejects: bool, decimal: str | None) -> TableJob:
        # The first table brings pyarrow in, here in the thread: a service that never sees a table does without it.
        from service.tables.job import TableJob

        return TableJob(scorer, form, rejects=rejects, max_part=self._max_part, decimal=decimal)

    async def _score(self, job: TableJob, body: Body, response: TableResponse, hold: Callable[[int], None]) -> None:
        """Score the table; a piece arrives while the one before is worked on."""
        last = False
        coming = asyncio.ensure_future(body.take())
        try:
            while not last:
                piece, last = await coming
                if not last:
                    coming = asyncio.ensure_future(body.take())
                async for block in self._work(job, piece, response, last=last):
                    if len(block.raw) or block.rejected:
                        self._metrics.count_block(block.raw, block.probabilities, block.rejected, block.stamps)
                    await response.put(block.answer, job.rows)
                hold(RESERVED_BYTES + job.buffered)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _work(self, job: TableJob, piece: bytes, response: TableResponse, *, last: bool) -> AsyncIterator[Block]:
        """Yield what the thread makes of a piece, block by block: between two of them others have their turn."""
        blocks = job.work(piece, last=last, pack=lambda: response.wants_packed)
        while (block := await self._intake.run(next, blocks, None)) is not None:
            yield block

    async def _finish(self, response: TableResponse, body: Body, count: Callable[[], None]) -> None:
        """Send what is held; stop when the client leaves."""
        leaving = asyncio.ensure_future(body.wait_for_end())
        leaving.add_done_callback(lambda _: response.abandon())
        try:
            await response.finish(count)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


def _name(error: Exception) -> Problem:
    """Return what a client would be told of an error; what nobody foresaw is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StalledError):
        return Problem(408, "stalled", "The client took nothing of its answer", str(error))
    return report_failure("POST", "/predict")
