"""Routes of the Open Inference Protocol V2 over REST, for clients of KServe, Triton or MLServer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from churn import __version__
from service.errors import Problem, RequestProblem, report_failure, shorten
from service.guard.caller import charge
from service.guard.content_encoding import find_encoding
from service.guard.deadline import ClientLeftError, Deadline
from service.keeping.sender import find_sender
from service.observe.responses import STATUS_DISCONNECTED
from service.oip.contracts import (
    BINARY,
    EXTENSIONS,
    INFER_PROBLEMS,
    INFER_REQUEST,
    JSON_SIZE_HEADER,
    NOT_FOUND,
    NOT_READY,
    PLATFORMS,
    VERSION,
    InferenceAnswer,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
    describe_errors,
)
from service.oip.elements import invalid_tensors
from service.oip.outputs import MODEL_NAME, describe_outputs
from service.oip.reasons import TensorReasons
from service.oip.scoring import score_tensors
from service.oip.tensors import describe_inputs, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from service.guard.json_limits import JsonLimits
    from service.guard.request_body import RequestProcessor
    from service.keeping.log import DecisionLog
    from service.observe.metrics import Metrics
    from service.oip.scoring import Answer, ScoredTensors
    from service.predict.served_model import ServedModel
    from service.state import ModelState

ROOT = "/v2"
MODEL_PATH = f"{ROOT}/models/{MODEL_NAME}"
VERSION_PATH = f"{MODEL_PATH}/versions/{{version}}"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class V2Route(APIRoute):
    """A route that returns errors in the format of the protocol."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that converts exceptions to error responses."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                return respond(problem)
            except Exception:  # noqa: BLE001  logged by report_failure
                return respond(report_failure(request.method, request.url.path))

        return guarded


class Limits(NamedTuple):
    """Maximum numbers of customers in one request, and in one with reasons, and the limits of its JSON."""

    customers: int
    reasoned: int
    json: JsonLimits


def respond(problem: Problem) -> Response:
    """Return an error response in the format of the protocol."""
    return JSONResponse({"error": problem.detail}, problem.status, problem.headers)


def make_router(
    state: ModelState,
    metrics: Metrics,
    processor: RequestProcessor,
    limits: Limits,
    log: DecisionLog | None = None,
) -> APIRouter:
    """Create the routes; the last ones return errors for unknown paths in the format of the protocol."""
    router = APIRouter(tags=["open inference protocol"], route_class=V2Route)
    _add_server_routes(router, state)
    _add_model_routes(router, state)
    _add_infer_routes(router, InferEndpoint(state, metrics, processor, limits, log))
    known = list(router.routes)

    @router.api_route(ROOT, methods=METHODS, include_in_schema=False)
    @router.api_route(f"{ROOT}/{{rest:path}}", methods=METHODS, include_in_schema=False)
    async def refuse(request: Request) -> Response:
        raise _refusal(request.scope["path"], known)

    return router


def _add_server_routes(router: APIRouter, state: ModelState) -> None:
    @router.get(ROOT, summary="What serves?")
    async def server_metadata() -> ServerMetadata:
        return ServerMetadata(name=MODEL_NAME, version=__version__, extensions=EXTENSIONS)

    @router.get(f"{ROOT}/health/live", summary="Liveness of the server")
    async def server_live() -> ServerLive:
        return ServerLive()

    @router.get(f"{ROOT}/health/ready", summary="Readiness of the server", responses=describe_errors(NOT_READY))
    async def server_ready() -> ServerReady:
        _check_ready(state)
        return ServerReady()


def _add_model_routes(router: APIRouter, state: ModelState) -> None:
    current = describe_errors(NOT_READY)
    versioned = describe_errors(NOT_FOUND | NOT_READY)

    @router.get(MODEL_PATH, summary="Metadata of the model", responses=current)
    async def model_metadata() -> ModelMetadata:
        return describe(find_model(state))

    @router.get(VERSION_PATH, summary="Metadata of a version", responses=versioned, openapi_extra=VERSION)
    async def version_metadata(request: Request) -> ModelMetadata:
        return describe(find_model(state, request.path_params["version"]))

    @router.get(f"{MODEL_PATH}/ready", summary="Readiness of the model", responses=current)
    async def model_ready() -> ModelReady:
        _check_ready(state)
        return ModelReady(name=MODEL_NAME)

    @router.get(f"{VERSION_PATH}/ready", summary="Readiness of a version", responses=versioned, openapi_extra=VERSION)
    async def version_ready(request: Request) -> ModelReady:
        find_model(state, request.path_params["version"])
        _check_ready(state)
        return ModelReady(name=MODEL_NAME)


def _add_infer_routes(router: APIRouter, infer: InferEndpoint) -> None:
    binary: dict[int | str, Any] = {200: {"content": {"application/octet-stream": BINARY}}}

    @router.post(
        f"{MODEL_PATH}/infer",
        summary="Score customers sent as tensors",
        response_model=InferenceAnswer,
        responses=binary | describe_errors(INFER_PROBLEMS),
        openapi_extra=INFER_REQUEST,
    )
    async def model_infer(request: Request) -> Response:
        return await infer(request)

    @router.post(
        f"{VERSION_PATH}/infer",
        summary="Score customers sent as tensors with this version",
        response_model=InferenceAnswer,
        responses=binary | describe_errors(INFER_PROBLEMS | NOT_FOUND),
        openapi_extra=INFER_REQUEST | {"parameters": INFER_REQUEST["parameters"] + VERSION["parameters"]},
    )
    async def version_infer(request: Request) -> Response:
        return await infer(request, request.path_params["version"])


class InferEndpoint:
    """Scores customers sent as tensors, with the same limits as `POST /predict`.

    Parameters
    ----------
    state : ModelState
    metrics : Metrics
    processor : RequestProcessor
    limits : Limits
    log : DecisionLog, optional
        Records what is answered. By default nothing is recorded.
    """

    def __init__(
        self,
        state: ModelState,
        metrics: Metrics,
        processor: RequestProcessor,
        limits: Limits,
        log: DecisionLog | None = None,
    ) -> None:
        self._log = log
        self._state = state
        self._metrics = metrics
        self._processor = processor
        self._limits = limits

    async def __call__(self, request: Request, version: str | None = None) -> Response:
        """Handle one request."""
        try:
            headers = request.headers
            deadline = Deadline(request.scope)
            encoding = find_encoding(request.scope["headers"])
            model = find_model(self._state, version)
            if version is not None:  # asked for by name
                model = replace(model, canary=None)
            if self._log is not None:
                self._log.check()
            work = partial(self._score, model, _read_json_size(headers.get(JSON_SIZE_HEADER)))
            announced = int(headers.get("content-length", 0))
            (body, json_size), scored = await self._processor.process(
                announced, request.receive, work, deadline, encoding
            )
            asked, written = scored.request, None
            if asked.wanted is not None:
                reasons = TensorReasons(scored)
                steps, count = reasons.explain(asked.wanted), scored.customers
                await self._processor.explain(request.scope, deadline, steps, count, reasons.work)
                body, json_size = scored.encode(reasons.make_tensors())
                self._metrics.reasons.count(reasons.work)
                written = reasons.write() if self._log is not None else None
            if self._log is not None:
                # In the thread: for 10,000 customers it takes longer than other requests may wait.
                inputs = await self._processor.run(scored.write_inputs)
                found = scored.probabilities.tolist()
                sender, origins = find_sender(request.scope), scored.list_origins()
                self._log.add_texts(*sender, asked.identifiers, inputs, found, origins, written)
                await self._log.kept()
        except ClientLeftError:
            deadline.abandon()
            return Response(status_code=STATUS_DISCONNECTED)
        except Problem as problem:
            self._metrics.count_rejection(problem)
            raise
        if asked.wanted is None:
            charge(request.scope, scored.customers)
        scored.count(self._metrics)
        if json_size is None:
            return Response(body, media_type="application/json")
        return Response(body, headers={JSON_SIZE_HEADER: str(json_size)}, media_type="application/octet-stream")

    def _score(self, model: ServedModel, json_size: int | None, body: bytes) -> tuple[Answer, ScoredTensors]:
        """Return the response, which is empty if reasons are to be added, and what was scored."""
        received = perf_counter()
        most = self._limits
        request = read_request(model.scorer.schema, body, json_size, most.customers, most.json)
        if request.wanted is not None:
            model.explainer.check()
            if len(request.raw) > most.reasoned:
                raise RequestProblem.too_many_reasoned(most.reasoned)
        return score_tensors(model, request, received, perf_counter())


def find_model(state: ModelState, version: str | None = None) -> ServedModel:
    """Return the model being served.

    Raises
    ------
    Problem
        503 if no model is loaded, 404 if another version is requested.
    """
    if state.model is None:
        raise RequestProblem.not_ready(state.reason)
    served = state.model.scorer.version
    if version not in (None, served):
        raise _not_found(f"version {shorten(version)!r} is not served; available: {served!r}")
    return state.model


def describe(model: ServedModel) -> ModelMetadata:
    """Return the metadata of a model."""
    scorer = model.scorer
    return ModelMetadata(
        name=MODEL_NAME,
        versions=[scorer.version],
        platform=PLATFORMS[scorer.engine.name],
        inputs=[TensorMetadata(**tensor) for tensor in describe_inputs(scorer.schema)],
        outputs=[TensorMetadata(**tensor) for tensor in describe_outputs()],
    )


def _check_ready(state: ModelState) -> None:
    if state.model is None or state.phase != "ready":
        raise RequestProblem.not_ready(state.reason)


def _read_json_size(header: str | None) -> int | None:
    if header is None:
        return None
    if not (header.isascii() and header.isdecimal() and len(header) < 20):
        raise invalid_tensors(f"{JSON_SIZE_HEADER} is {shorten(header)!r}, not a number of bytes")
    return int(header)


def _refusal(path: str, known: Sequence[Any]) -> Problem:
    """Return the error for an unknown path or a wrong method."""
    methods = {method for route in known if route.path_regex.match(path) for method in route.methods}
    if methods:
        status, allowed = (
            HTTPStatus.METHOD_NOT_ALLOWED,
            ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set()))),
        )
        detail = f"allowed methods: {allowed}"
        return Problem(status, "method-not-allowed", status.phrase, detail, headers={"Allow": allowed})
    if path.startswith(f"{ROOT}/models/") and not path.startswith(f"{MODEL_PATH}/"):
        return _not_found(f"unknown model; available: {MODEL_NAME!r}")
    return _not_found("unknown path; /docs lists all routes")


def _not_found(detail: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not-found", HTTPStatus.NOT_FOUND.phrase, detail)
