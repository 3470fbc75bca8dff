"""`POST /predict` as an ASGI application, for requests that don't take the fast path.

These are tables, large or chunked bodies, and requests with query parameters or rare HTTP features.
`service.predict.fast_connection` handles the others without an ASGI request. Errors are problem documents, requests are
counted, and no stack trace is returned, as on all routes.
"""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from churn.leniency import choose_leniency
from service.errors import MEDIA_TYPE, Problem, RequestProblem, report_failure
from service.guard.caller import charge
from service.guard.content_encoding import find_encoding
from service.guard.deadline import ClientLeftError, Deadline
from service.keeping.sender import find_sender
from service.media_types import find_table
from service.observe.responses import STATUS_DISCONNECTED
from service.predict.reasoned import score_reasoned
from service.predict.recording import name_leniency, record_reasoned, record_scored
from service.predict.scoring import score_and_keep
from service.query import read_parameters, read_reasons
from service.tables.endpoint import BrokenOffError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from service.guard.request_body import RequestProcessor
    from service.keeping.log import DecisionLog
    from service.media_types import TableFormat
    from service.observe.metrics import Metrics
    from service.observe.tracing import Timed, Tracing
    from service.predict.served_model import ModelHolder, ServedModel
    from service.tables.endpoint import BulkEndpoint

PATH = "/predict"

TABLE_LABEL = "/predict, table"
"""Label for the durations of tables, which depend on how fast the client sends them."""

REASONS_LABEL = "/predict, reasons"
"""Label for the durations of requests with reasons, which take much longer than others."""

JSON = b"application/json"

_log = logging.getLogger(__name__)

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""


class PredictEndpoint:
    """Handle `POST /predict`.

    Parameters
    ----------
    state : ModelHolder
    metrics : Metrics
    processor : RequestProcessor
    bulk : BulkEndpoint
        Handles tables.
    tracing : Tracing or None
    max_reasoned : int
        Maximum number of customers in a request with reasons.
    log : DecisionLog, optional
        Records what is answered. By default nothing is recorded.
    """

    def __init__(
        self,
        state: ModelHolder,
        metrics: Metrics,
        processor: RequestProcessor,
        bulk: BulkEndpoint,
        tracing: Tracing | None,
        max_reasoned: int,
        log: DecisionLog | None = None,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._processor = processor
        self._bulk = bulk
        self._tracing = tracing
        self._max_reasoned = max_reasoned
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        started = perf_counter()
        headers = dict(scope["headers"])
        form = find_table(headers.get(b"content-type", b""))
        if form is not None:
            await self._answer_table(scope, receive, send, form)
            return
        deadline: Deadline | None = None
        try:
            deadline = Deadline(scope)
            leniency = choose_leniency(read_parameters(scope))
            wanted = read_reasons(scope)
            model = self.find_model(headers)
            announced = int(headers.get(b"content-length", 0))
            encoding = find_encoding(scope["headers"])
            # Recorded before it is sent, so that a client that has the response finds it in the metrics.
            if wanted is None:
                score = partial(score_and_keep, model, leniency=leniency)
                body, plain, sent = await self._processor.process(announced, receive, score, deadline, encoding)
                if self._log is not None:
                    record_scored(self._log, *find_sender(scope), sent, plain, name_leniency(leniency))
                    await self._log.kept()
                plain.record()
                charge(scope, plain.customers)
                scored: Timed = plain
            else:
                model.explainer.check()
                work = partial(score_reasoned, model, leniency=leniency, max_customers=self._max_reasoned)
                reasoned = await self._processor.process(announced, receive, work, deadline, encoding)
                steps = reasoned.explain(wanted)
                await self._processor.explain(scope, deadline, steps, reasoned.customers, reasoned.work)
                body = reasoned.encode()
                if self._log is not None:
                    record_reasoned(self._log, *find_sender(scope), reasoned, name_leniency(leniency))
                    await self._log.kept()
                reasoned.record(self._metrics)
                self._metrics.count_request(PATH, "POST", 200, perf_counter() - started, REASONS_LABEL)
                scored = reasoned
        except ClientLeftError:
            if deadline is not None:
                deadline.abandon()
            self._metrics.count_request(PATH, "POST", STATUS_DISCONNECTED, perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001  logged by `refuse`
            status, fields, body = self.refuse(error, perf_counter() - started)
        else:
            status, fields = 200, [(b"content-type", JSON)]
            if self._tracing is not None:
                self._tracing.add_stages(scored)
        await _send_whole(send, status, fields, body)

    async def _answer_table(self, scope: Scope, receive: Receive, send: Send, form: TableFormat) -> None:
        """Handle a table; the server closes the connection if the response is left incomplete."""
        started = perf_counter()

        def count(status: int = 200) -> None:
            self._metrics.count_request(PATH, "POST", status, perf_counter() - started, TABLE_LABEL)

        try:
            await self._bulk.answer(scope, receive, send, form, self._get_model(), count)
        except ClientLeftError:
            count(STATUS_DISCONNECTED)
        except BrokenOffError as error:
            problem = error.problem
            count(problem.status)
            _log.warning("response aborted: %s: %s", problem.title, problem.detail)
        except Exception as error:  # noqa: BLE001  logged by `refuse`
            status, fields, body = self.refuse(error, perf_counter() - started, TABLE_LABEL)
            await _send_whole(send, status, fields, body)

    def find_model(self, headers: Mapping[bytes, bytes]) -> ServedModel:
        """Check the content type, and return the model being served.

        Raises
        ------
        RequestProblem
            415 if the content type is not JSON, 503 if no model is ready or nothing can be recorded.
        """
        media_type = headers.get(b"content-type", b"")
        if media_type != JSON and media_type.split(b";")[0].strip().lower() != JSON:
            raise RequestProblem.media_type(media_type.decode("latin-1"))
        return self._get_model()

    def _get_model(self) -> ServedModel:
        if self._state.model is None:
            raise RequestProblem.not_ready(self._state.reason)
        if self._log is not None:
            self._log.check()
        return self._state.model

    def refuse(self, error: Exception, seconds: float, timed_as: str = PATH) -> Answer:
        """Count a failed request and return the error response; unexpected errors are logged."""
        if isinstance(error, Problem):
            problem = error
            self._metrics.count_rejection(problem)
        else:
            problem = report_failure("POST", PATH)
        self._metrics.count_request(PATH, "POST", problem.status, seconds, timed_as)
        own = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        return problem.status, [(b"content-type", MEDIA_TYPE.encode()), *own], problem.encode()


async def _send_whole(send: Send, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*fields, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
