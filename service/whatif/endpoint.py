"""Routes of the questions about one customer: `POST /counterfactuals` and `POST /sensitivity`.

They are answered in the scoring thread, in slices of some milliseconds between which tables and large requests get
their turn. The customers that are tried are not counted as scored, since nobody sent them;
they count to the rate limit of the caller as the customers of reasons do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from churn.leniency import choose_leniency
from churn.names import BATCH
from service.errors import RETRY_AFTER, Problem, RequestProblem
from service.guard.caller import charge
from service.guard.content_encoding import find_encoding
from service.guard.deadline import ClientLeftError, Deadline
from service.guard.places import Places, find_party
from service.observe.responses import STATUS_DISCONNECTED
from service.predict.canary import divert
from service.predict.endpoint import JSON
from service.predict.parse import SingleRequest
from service.query import read_parameters
from service.whatif.parameters import COUNTERFACTUALS, SENSITIVITY, read_fields, read_points, read_target
from service.whatif.questions import CounterfactualQuestion, SensitivityQuestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from churn.leniency import Leniency
    from service.guard.request_body import RequestProcessor
    from service.observe.metrics import Metrics
    from service.predict.served_model import ModelHolder, ServedModel
    from service.whatif.questions import Question

    Ask = Callable[[ServedModel, SingleRequest], Question[Any]]

MAX_QUESTIONS = 32
"""Questions that one worker answers at the same time, in turn; further ones are rejected with 503, as are those of a
caller who holds too many of the places (`service.guard.places`)."""


def make_router(state: ModelHolder, metrics: Metrics, processor: RequestProcessor, timeout_seconds: float) -> APIRouter:
    """Create the routes; `service.api.whatif` describes them.

    Parameters
    ----------
    state : ModelHolder
    metrics : Metrics
    processor : RequestProcessor
    timeout_seconds : float
        ``CHURN_REQUEST_TIMEOUT``.
    """
    router = APIRouter(include_in_schema=False)
    endpoint = WhatIfEndpoint(state, metrics, processor, timeout_seconds)

    @router.post(COUNTERFACTUALS)
    async def counterfactuals(request: Request) -> Response:
        return await endpoint(request, lambda: partial(CounterfactualQuestion, read_target(request.scope)))

    @router.post(SENSITIVITY)
    async def sensitivity(request: Request) -> Response:
        scope = request.scope
        return await endpoint(request, lambda: partial(SensitivityQuestion, read_fields(scope), read_points(scope)))

    return router


class WhatIfEndpoint:
    """Answers questions about one customer, with the limits of `POST /predict` on bodies and times.

    Parameters
    ----------
    state : ModelHolder
    metrics : Metrics
    processor : RequestProcessor
    timeout_seconds : float
        ``CHURN_REQUEST_TIMEOUT``.
    """

    def __init__(
        self, state: ModelHolder, metrics: Metrics, processor: RequestProcessor, timeout_seconds: float
    ) -> None:
        self._state = state
        self._metrics = metrics
        self._processor = processor
        self._timeout_seconds = timeout_seconds
        self._places = Places(MAX_QUESTIONS)

    async def __call__(self, request: Request, read: Callable[[], Ask]) -> Response:
        """Handle one request.

        Parameters
        ----------
        request : Request
        read : callable
            Reads the parameters, and returns a function that creates the question.
        """
        deadline: Deadline | None = None
        try:
            deadline = Deadline(request.scope)
            with self._places.take(find_party(request.scope), _too_many(self._places.total)):
                return await self._answer(request, read(), deadline)
        except ClientLeftError:
            if deadline is not None:
                deadline.abandon()
            return Response(status_code=STATUS_DISCONNECTED)
        except Problem as problem:
            self._metrics.count_rejection(problem)
            return problem.respond()

    async def _answer(self, request: Request, ask: Ask, deadline: Deadline) -> Response:
        leniency = choose_leniency(read_parameters(request.scope))
        _check_media_type(request.headers.get("content-type", ""))
        if (model := self._state.model) is None:
            raise RequestProblem.not_ready(self._state.reason)
        announced = int(request.headers.get("content-length", 0))
        encoding = find_encoding(request.scope["headers"])
        begin = partial(_begin, model, leniency, ask)
        question = await self._processor.process(announced, request.receive, begin, deadline, encoding)
        deadline.limit(self._timeout_seconds, "CHURN_REQUEST_TIMEOUT")
        route = request.scope["path"]
        try:
            with self._processor.reserve():
                answer: bytes | None = None
                while answer is None:
                    answer = await self._processor.run_in_time(deadline, lambda _: question.advance(), b"")
        finally:
            charge(request.scope, 1, question.evaluations)
            self._metrics.what_if.count(route, question.evaluations)
        if route == COUNTERFACTUALS:
            self._metrics.what_if.count_outcome(question.outcome)
        return Response(answer, media_type="application/json")


def _too_many(limit: int) -> Problem:
    detail = (
        f"too many requests of this kind are being answered: at most {limit}, and no caller more than the places that "
        "are left for others; retry later"
    )
    return RequestProblem(503, "overloaded", "The service is overloaded", detail, headers=RETRY_AFTER)


def _begin(model: ServedModel, leniency: Leniency, ask: Ask, body: bytes) -> Question[Any]:
    """Read the customer, and return the question for the model that scores that customer."""
    request = model.parser.parse_as(body, leniency)
    if not isinstance(request, SingleRequest):
        wrong = {"customer": None, "field": BATCH, "reason": "is not accepted here", "sent": "a list"}
        raise RequestProblem.invalid([wrong | {"allowed": "one customer as an object"}], more=False)
    model, request = divert(model, request, body, leniency)
    return ask(model, request)


def _check_media_type(sent: str) -> None:
    if sent.split(";")[0].strip().lower() != JSON.decode():
        raise RequestProblem.media_type(sent, has_tables=False)
