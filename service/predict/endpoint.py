"""`POST /predict` as an ASGI application: requests that are large, come in parts or need HTTP's rarer ways.

`service.predict.protocol` answers the others before an ASGI request is made of them. Every promise of the other routes
is kept here too: problem documents, metrics, no stack trace.
"""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from service.errors import MEDIA_TYPE, Problem, RequestProblem, report_failure
from service.guard.content_encoding import find_encoding
from service.guard.request_body import ClientLeftError
from service.media_types import find_table
from service.observe.responses import STATUS_DISCONNECTED
from service.observe.stages import ScoredSingle
from service.predict.leniency import read_leniency
from service.predict.scoring import score_body
from service.tables.endpoint import BrokenOffError, read_on_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from service.guard.request_body import Intake
    from service.media_types import Form
    from service.observe.metrics import Metrics
    from service.observe.recorder import Recorder
    from service.observe.tracing import Tracing
    from service.predict.served_model import ModelHolder, ServedModel
    from service.tables.endpoint import BulkEndpoint

PATH = "/predict"

TABLE_LABEL = "/predict, table"
"""What the durations of tables are counted under: they last as long as the client takes to send them."""

JSON = b"application/json"

_log = logging.getLogger(__name__)

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body."""


class PredictEndpoint:
    """Scores what is posted.

    Parameters
    ----------
    state : ModelHolder
    metrics : Metrics
    recorder : Recorder
    intake : Intake
    bulk : BulkEndpoint
        Scores tables.
    tracing : Tracing or None
    """

    def __init__(
        self,
        state: ModelHolder,
        metrics: Metrics,
        recorder: Recorder,
        intake: Intake,
        bulk: BulkEndpoint,
        tracing: Tracing | None,
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._recorder = recorder
        self._intake = intake
        self._bulk = bulk
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        headers = dict(scope["headers"])
        form = find_table(headers.get(b"content-type", b""))
        if form is not None:
            await self._answer_table(scope, receive, send, form)
            return
        try:
            read_on_error(scope)  # a wrong one is refused; JSON is scored whole or not at all, whatever it says
            leniency = read_leniency(scope)
            model = self.find_model(headers)
            announced = int(headers.get(b"content-length", 0))
            encoding = find_encoding(scope["headers"])
            score = partial(score_body, model, leniency=leniency)
            body, scored = await self._intake.process(announced, receive, score, encoding)
        except ClientLeftError:
            self._metrics.count_request(PATH, "POST", STATUS_DISCONNECTED, perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001  logged there, whatever it is
            status, fields, body = self.refuse(error, perf_counter() - started)
        else:
            status, fields = 200, [(b"content-type", JSON)]
            # Counted before it is sent, so that who has the answer finds it counted.
            if isinstance(scored, ScoredSingle):
                self._recorder.record_single(*scored)
            else:
                self._recorder.record_batch(scored)
            if self._tracing is not None:
                self._tracing.add_stages(scored)
        await _send_whole(send, status, fields, body)

    async def _answer_table(self, scope: Scope, receive: Receive, send: Send, form: Form) -> None:
        """Answer a request with a table; the server cuts the connection of an answer that is left without its end."""
        started = perf_counter()

        def count(status: int = 200) -> None:
            self._metrics.count_request(PATH, "POST", status, perf_counter() - started, TABLE_LABEL)

        try:
            await self._bulk.answer(scope, receive, send, form, self._get_model().scorer, count)
        except ClientLeftError:
            count(STATUS_DISCONNECTED)
        except BrokenOffError as error:
            problem = error.problem
            count(problem.status)
            _log.warning("an answer was broken off: %s: %s", problem.title, problem.detail)
        except Exception as error:  # noqa: BLE001  logged there, whatever it is
            status, fields, body = self.refuse(error, perf_counter() - started, TABLE_LABEL)
            await _send_whole(send, status, fields, body)

    def find_model(self, headers: Mapping[bytes, bytes]) -> ServedModel:
        """Check that JSON is announced, and return the model that is served.

        Raises
        ------
        RequestProblem
        """
        media_type = headers.get(b"content-type", b"")
        if media_type != JSON and media_type.split(b";")[0].strip().lower() != JSON:
            raise RequestProblem.media_type(media_type.decode("latin-1"))
        return self._get_model()

    def _get_model(self) -> ServedModel:
        if self._state.model is None:
            raise RequestProblem.not_ready(self._state.reason)
        return self._state.model

    def refuse(self, error: Exception, seconds: float, timed_as: str = PATH) -> Answer:
        """Count a request that can't be answered with probabilities, and return what it gets."""
        if isinstance(error, Problem):
            problem = error
            self._metrics.count_rejection(problem.kind)
        else:
            problem = report_failure("POST", PATH)
        self._metrics.count_request(PATH, "POST", problem.status, seconds, timed_as)
        own = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        return problem.status, [(b"content-type", MEDIA_TYPE.encode()), *own], problem.encode()


async def _send_whole(send: Send, status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*fields, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
