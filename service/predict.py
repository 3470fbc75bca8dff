"""`POST /predict`: body bytes to customers to probabilities to bytes, past FastAPI's own machinery.

An ASGI application by itself: validating and serialising through FastAPI would cost several times what the network
does. Every promise of the other routes is kept here too: problem documents, metrics, no stack trace.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from service.errors import MEDIA_TYPE, Problem, RequestProblem, report_failure
from service.intake import ClientLeftError
from service.parse import Lone

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from service.intake import Intake
    from service.metrics import Metrics
    from service.state import ModelState, ServedModel

PATH = "/predict"

STATUS_DISCONNECTED = 499
_JSON = b"application/json"


class PredictEndpoint:
    """Scores what is posted.

    Parameters
    ----------
    state : ModelState
    metrics : Metrics
    intake : Intake
    """

    def __init__(self, state: ModelState, metrics: Metrics, intake: Intake) -> None:
        self._state = state
        self._metrics = metrics
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        status, headers = 200, _answer_headers
        try:
            body = await self._answer(scope, receive)
        except ClientLeftError:
            self._metrics.count_request(PATH, "POST", STATUS_DISCONNECTED, perf_counter() - started)
            return
        except Problem as problem:
            self._metrics.count_rejection(problem.kind)
            status, headers, body = problem.status, _problem_headers(problem), problem.encode()
        except Exception:  # noqa: BLE001  logged there, whatever it is
            failure = report_failure(scope)
            status, headers, body = failure.status, _problem_headers(failure), failure.encode()
        # Counted before it is sent, so that who has the answer finds it counted by every worker.
        if status == 200:
            self._metrics.count_prediction(perf_counter() - started)
        else:
            self._metrics.count_request(PATH, "POST", status, perf_counter() - started)
        await send({
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        })  # fmt: skip
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        announced = _check_headers(scope)
        model = self._state.model
        if model is None:
            raise RequestProblem.not_ready(self._state.reason)
        return await self._intake.process(announced, receive, partial(self._score, model))

    def _score(self, model: ServedModel, body: bytes) -> bytes:
        request = model.parser.parse(body)
        scorer = model.scorer
        if isinstance(request, Lone):
            probability = scorer.score_row(request.row)
            leaves = probability > scorer.threshold
            self._metrics.count_customer(probability, leaves=leaves)
            return model.answers.encode_lone(request, probability, leaves=leaves)
        probabilities = scorer.score_raw(request.raw)
        decisions = scorer.decide(probabilities)
        self._metrics.count_customers(probabilities, decisions)
        return model.answers.encode_batch(request, probabilities, decisions)


def _check_headers(scope: Scope) -> int:
    """Check that JSON is announced, and return how many bytes of it are."""
    media_type, length = b"", b"0"
    for name, value in scope["headers"]:
        if name == b"content-type":
            media_type = value
        elif name == b"content-length":
            length = value
    if media_type != _JSON and media_type.split(b";")[0].strip().lower() != _JSON:
        raise RequestProblem.media_type(media_type.decode("latin-1"))
    return int(length)


_answer_headers: list[tuple[bytes, bytes]] = [(b"content-type", _JSON)]


def _problem_headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    own = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return [(b"content-type", MEDIA_TYPE.encode()), *own]
