"""`POST /predict` with a table (CSV or Arrow), which is processed block by block while it arrives.

Tables are scored in a thread, not in the event loop, and only a few blocks are in memory at a time. Since the status of
an error must precede the response, the response is held, compressed, until all rows are known to be valid, unless the
client requests invalid rows with the others.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.errors import Problem, report_failure
from service.guard.caller import charge, pace
from service.guard.content_encoding import find_encoding
from service.guard.deadline import ClientLeftError, Deadline
from service.keeping.sender import find_sender
from service.media_types import ARROW, CSV, TableFormat, check_parameters
from service.query import read_parameters, read_reasons
from service.tables.read_ahead import read_ahead
from service.tables.response import StalledError, TableResponse
from service.tables.spool import Budget, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from churn.reasons.strongest import Wanted
    from churn.tables.scored import ScoredRows
    from service.guard.request_body import RequestProcessor
    from service.keeping.log import DecisionLog
    from service.observe.metrics import Metrics
    from service.settings import Settings
    from service.tables.blocks import ResponseBlock
    from service.tables.job import TableJob
    from service.tables.kept_rows import KeptRows
    from service.tables.model import TableModel
    from service.tables.reasons import TableReasons
    from service.tables.split import Split

BLOCK_BYTES = 512 * 1024
"""Size of a block in bytes: about 8,000 customers, so that intermediate results fit into the CPU cache and other
requests wait at most some milliseconds for the thread."""

RESERVED_BYTES = 4 * 2**20
"""Bytes that a table uses of the limit of pending bytes while it is processed: the current block in several
representations, and the next one, which arrives meanwhile."""

ANSWERS: dict[TableFormat, bytes] = {"csv": f"{CSV}; charset=utf-8; header=present".encode(), "arrow": ARROW.encode()}
"""Content types of the responses."""


class Body:
    """Body of a request in pieces of `BLOCK_BYTES`.

    Parameters
    ----------
    receive, limited : callable
        The ASGI receive callable, and the same with a time limit.
    """

    def __init__(self, receive: Receive, limited: Receive) -> None:
        self._receive_at_leisure = receive
        self._receive = limited
        self._rest = b""
        self._more = True

    async def pieces(self) -> AsyncGenerator[tuple[bytes, bool], None]:
        """Yield all pieces, each with whether it is the last one.

        Raises
        ------
        ClientLeftError
        """
        last = False
        while not last:
            piece, last = await self._take()
            yield piece, last

    async def _take(self) -> tuple[bytes, bool]:
        """Return the next piece and whether it is the last one.

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
        """Wait until the client has disconnected or received its response."""
        await self._receive_at_leisure()


class BrokenOffError(Exception):
    """A response that had started could not be completed; the connection must be closed, so that the client notices.

    Attributes
    ----------
    problem : Problem
        The error that the client would have received.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class BulkEndpoint:
    """Handle `POST /predict` with a table.

    Parameters
    ----------
    metrics : Metrics
    processor : RequestProcessor
    settings : Settings
    log : DecisionLog, optional
        Records what is answered. By default nothing is recorded.
    """

    def __init__(
        self, metrics: Metrics, processor: RequestProcessor, settings: Settings, log: DecisionLog | None = None
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._processor = processor
        self._settings = settings
        self._budget = Budget(settings.max_held_bytes, settings.max_spilled_bytes)
        self._stall_seconds = settings.send_seconds

    async def answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        form: TableFormat,
        model: TableModel,
        count: Callable[[], None],
    ) -> None:
        """Respond to a request; `count` is called just before the end of the response is sent.

        Raises
        ------
        Exception
            A `Problem`, a `ClientLeftError` or an unexpected error, before anything has been sent.
        ClientLeftError, BrokenOffError
            After the response has started.
        """
        headers = dict(scope["headers"])
        deadline = Deadline(scope)
        parameters = read_parameters(scope)
        wanted = read_reasons(scope)
        rejects, decimal = parameters["on_error"] == "reject", parameters["decimal"]
        if form == "csv":
            check_parameters(headers[b"content-type"].decode("latin-1"))
        find_encoding(scope["headers"], allowed=())
        if wanted is not None:
            model.explainer.check()
        # In HTTP/1.0, a truncated response can be recognised only by its length, so the length must be known.
        response = TableResponse(
            send,
            [(b"content-type", ANSWERS[form])],
            Spool(self._budget, self._processor.run),
            self._budget,
            may_begin_early=rejects and scope.get("http_version") != "1.0",
            stall_seconds=self._stall_seconds,
        )
        try:
            with self._processor.reserve() as hold:
                hold(RESERVED_BYTES)
                body = Body(receive, self._processor.limit(receive))
                job = await self._processor.run(self._open, model, form, rejects, decimal, wanted)
                with self._watch(job.reasons) as count_reasons:
                    await self._score(scope, job, model, body, response, hold, deadline)

                    def count_all() -> None:
                        self._metrics.count_batch(job.counts.rows)
                        count_reasons()
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

    @contextmanager
    def _watch(self, reasons: TableReasons | None) -> Iterator[Callable[[], None]]:
        """Yield a function that counts the reasons as sent; they are counted as dropped if it was not called."""
        sent = reasons is None

        def count() -> None:
            nonlocal sent
            sent = True
            if reasons is not None:
                self._metrics.reasons.count(reasons.work)

        try:
            yield count
        finally:
            if not sent and reasons is not None:
                self._metrics.reasons.drop(reasons.work)

    def _open(
        self, model: TableModel, form: TableFormat, rejects: bool, decimal: str | None, wanted: Wanted | None
    ) -> TableJob:
        # pyarrow is imported with the first table, in the thread; a service without tables never loads it.
        from service.tables.opening import open_job

        keeps_rows = self._log is not None
        return open_job(model, form, self._settings, decimal, wanted, rejects=rejects, keeps_rows=keeps_rows)

    async def _score(
        self,
        scope: Scope,
        job: TableJob,
        model: TableModel,
        body: Body,
        response: TableResponse,
        hold: Callable[[int], None],
        deadline: Deadline,
    ) -> None:
        """Score the table.

        The next piece is received, and the next block is scored, while the current block is counted and held or sent.
        """
        rows = accepted = paid = 0
        try:
            async with read_ahead(self._work(job, body, response, hold, deadline)) as blocks:
                async for block in blocks:
                    if (scored := block.scored) is not None:
                        self._count(model, block, scored)
                        rows += scored.total
                        accepted += len(scored.raw)
                        spent = 0 if job.reasons is None else job.reasons.work.evaluations
                        charge(scope, scored.total, spent - paid)
                        paid = spent
                        if self._log is not None and block.kept is not None:
                            await self._record(self._log, scope, model, scored, block.kept, block.split)
                    await response.put(block.answer, rows)
                    await pace(scope)
        finally:
            if job.reasons is not None:  # those of a block that was dropped took as long
                charge(scope, job.reasons.work.customers - accepted, job.reasons.work.evaluations - paid)

    def _count(self, model: TableModel, block: ResponseBlock, scored: ScoredRows) -> None:
        """Count the rows of a block with the models that scored them."""
        counts, split, canary = model.recorder.counts, block.split, model.canary
        raw, probabilities = scored.raw, scored.probabilities
        if split is not None and canary is not None:
            self._metrics.count_customers(canary.model.recorder.counts, split.raw, probabilities[split.chosen])
            raw, probabilities = raw[~split.chosen], probabilities[~split.chosen]
        self._metrics.count_block(counts, raw, probabilities, scored.rejected, block.stamps)
        if block.fallbacks:
            model.recorder.count_canary_fallback(block.fallbacks)

    async def _record(
        self,
        log: DecisionLog,
        scope: Scope,
        model: TableModel,
        scored: ScoredRows,
        kept: KeptRows,
        split: Split | None,
    ) -> None:
        """Record a block, and wait as long as an answer must.

        Raises
        ------
        RequestProblem
            503 if it can't be recorded.
        """
        origins = [model.recorder.origin]
        if split is not None and model.canary is not None:
            both = model.recorder.origin, model.canary.model.recorder.origin
            origins = [both[chosen] for chosen in split.chosen.tolist()]
        log.add_block(
            *find_sender(scope),
            model.scorer.schema.identifier,
            kept.rows,
            scored.probabilities.tolist(),
            origins,
            kept.reasons,
            kept.read_as,
        )
        await log.kept()

    async def _work(
        self, job: TableJob, body: Body, response: TableResponse, hold: Callable[[int], None], deadline: Deadline
    ) -> AsyncGenerator[ResponseBlock, None]:
        """Yield the results block by block; other requests can use the thread between blocks."""

        def work(blocks: Iterator[ResponseBlock]) -> ResponseBlock | None:
            deadline.check()
            return next(blocks, None)

        async with read_ahead(body.pieces()) as pieces:
            async for piece, last in pieces:
                blocks = job.work(piece, last=last, pack=lambda: response.wants_packed)
                while (block := await self._processor.run(work, blocks)) is not None:
                    yield block
                hold(RESERVED_BYTES + job.buffered)

    async def _finish(self, response: TableResponse, body: Body, count: Callable[[], None]) -> None:
        """Send the held response; stop if the client disconnects."""
        leaving = asyncio.ensure_future(body.wait_for_end())
        leaving.add_done_callback(lambda _: response.abandon())
        try:
            await response.finish(count)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


def _name(error: Exception) -> Problem:
    """Return the problem for an error; unexpected errors are logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StalledError):
        return Problem(408, "stalled", "The client did not read its response", str(error))
    return report_failure("POST", "/predict")
