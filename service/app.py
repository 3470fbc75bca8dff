"""The ASGI application."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from churn import __version__
from churn.registry import Registry
from service.api import admin, docs, evaluation, health, metrics, model, performance, records
from service.api.exceptions import EXCEPTION_HANDLERS
from service.api.small_body import BodyLimits
from service.console import routes as console
from service.errors import Problem, RequestProblem
from service.guard.caller import CALLER
from service.guard.json_limits import JsonLimits
from service.guard.jwks import JwksError
from service.guard.keys_file import KeysFileError
from service.guard.protection import is_for_this_machine, make_gate, refuse_from_elsewhere, refuse_other_sites
from service.guard.request_body import RequestProcessor
from service.keeping.log import DecisionLog
from service.observe.access_log import REQUEST, REQUEST_ID, AccessLog, find_request_id
from service.observe.audit import AuditLog
from service.observe.logs import bind_request_id, choose_format
from service.observe.metrics import Metrics
from service.observe.overload import OverloadReport
from service.observe.performance import Performance
from service.observe.responses import ObservedResponse
from service.observe.tracing import Tracing
from service.oip import routes as oip
from service.predict.endpoint import PATH, TABLE_LABEL, PredictEndpoint
from service.predict.fast_connection import FastConnection
from service.predict.fast_path import FastPath
from service.rollout.agent import ModelAgent
from service.rollout.alone import Alone
from service.settings import Settings, SettingsError, find_unknown_variables, read_settings
from service.state import ModelState
from service.tables.endpoint import BulkEndpoint
from service.whatif import endpoint as whatif
from service.wire.admission import Admission
from service.wire.backlog import Backlog
from service.wire.connection import Connection
from service.wire.reading import Limits
from service.wire.refusals import Refusals, Traffic
from service.wire.ticket import TICKET, Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from fastapi import APIRouter
    from starlette.types import Receive, Scope, Send

    from churn.scorer import Scorer

TAGS = ("scoring", "what if", "model", "admin", "health", "metrics", "open inference protocol", "records")
"""Sections of the interactive documentation, in their order."""

_log = logging.getLogger(__name__)


class ChurnService(FastAPI):
    """The application. `POST /predict` bypasses middleware and routing, which cost more than scoring.

    Parameters
    ----------
    settings : Settings
    is_alone : bool
        Whether this process decides on its models; otherwise its supervisor does.
    buckets : Path, optional
        File in which the workers share the rate limits of callers.

    Attributes
    ----------
    gate : Gate or None
        Decides on requests; None if they need no credential.
    model_state : ModelState
    models : ModelAgent
        Loads models and switches between them.
    alone : Alone or None
        Decides on the models; None if the supervisor does.
    metrics : Metrics
    protocol : callable
        Makes the protocol of a connection, as uvicorn calls it; it answers most requests before they come here.
    tracing : Tracing or None
    decisions : DecisionLog or None
        Records what is answered.
    """

    def __init__(self, settings: Settings, *, is_alone: bool = True, buckets: Path | None = None) -> None:
        super().__init__(
            title="Churn scoring",
            version=__version__,
            summary="Probability that bank customers leave",
            openapi_url=None,
            openapi_tags=[{"name": tag} for tag in TAGS],
            lifespan=_live,
            exception_handlers=EXCEPTION_HANDLERS,
        )
        self.metrics = Metrics()
        self.audit = AuditLog(settings.audit_log)
        self.gate = make_gate(settings, self.metrics.guard, self.audit, buckets)
        self._is_for_this_machine = is_for_this_machine(settings)
        self._is_served_by_others = is_alone
        self.model_state = ModelState(self.metrics)
        self.models = ModelAgent(settings, self.model_state, self.metrics)
        self.alone = Alone(settings, self.model_state, self.models) if is_alone else None
        self.processor = RequestProcessor(self.metrics, settings)
        self.access = AccessLog(choose_format(settings)) if settings.access_log else None
        self.max_connections = None if settings.max_connections == "auto" else settings.max_connections
        self._shutdown_seconds = settings.shutdown_seconds
        self.tracing = Tracing() if settings.tracing else None
        self._traced = self.tracing.wrap(self._answer) if self.tracing else None
        self.decisions = DecisionLog(settings, self.metrics.records) if settings.records is not None else None
        if self.decisions is not None:
            self.metrics.buffers.add(self.decisions)
        self.performance = None if settings.records is None else Performance(settings.records, self.metrics.performance)
        bulk = BulkEndpoint(self.metrics, self.processor, settings, self.decisions)
        self.predict = PredictEndpoint(
            self.model_state, self.metrics, self.processor, bulk, self.tracing, settings.max_reasoned, self.decisions
        )
        limits = Limits.of(settings)
        backlog = Backlog(Admission(settings.queue_seconds))
        self.overload = OverloadReport(self.metrics, backlog)
        refusals = Refusals(settings.queue_seconds, f"POST {PATH} ".encode(), self.overload.count_growing)
        traffic = Traffic(backlog, refusals, self.overload.count_left)
        make: Callable[..., Connection] = Connection
        if not self.tracing:  # a trace has the span of an ASGI request, which the fast path never makes
            fast_path = FastPath(self.predict, self.access, settings.max_body_bytes, self.gate, self.decisions)
            backlog.flush = fast_path.flush
            make = partial(FastConnection, fast_path)
        self.protocol: Callable[..., Connection] = partial(make, traffic, limits, self._count_refusal)
        self.router.routes.append(Route(PATH, self.predict, methods=["POST"], include_in_schema=False))
        # The supervisor serves the management port, if there are both.
        is_managed = settings.management_port is not None and not is_alone
        routers = [
            health.make_router(self.model_state),
            model.make_router(self.model_state, self.metrics),
            evaluation.make_router(self.model_state),
            performance.make_router(self.performance),
            *([docs.make_router(self, self.model_state, is_protected=self.gate is not None)] if settings.docs else []),
            *([] if is_managed else self._make_management_routers(settings)),
            whatif.make_router(self.model_state, self.metrics, self.processor, settings.request_timeout),
            *([self._make_oip_router(settings)] if settings.v2 else []),
            *([self._make_console_router(settings, is_managed=is_managed)] if settings.console else []),
            *([self._make_records_router(settings)] if settings.records is not None else []),
        ]
        for router in routers:
            self.include_router(router)
        if settings.docs:
            self.mount(docs.STATIC, docs.make_static_files())
        self._known = {getattr(route, "path", PATH) for router in routers for route in router.routes} | {PATH}

    def _make_management_routers(self, settings: Settings) -> list[APIRouter]:
        routers = [metrics.make_router(self.metrics.expose)] if settings.metrics else []
        if settings.admin:
            changes = admin.Changes(self.models, settings.change_seconds, self.audit)
            registry = Registry(settings.models)
            bodies = BodyLimits.of(settings, self.metrics.count_rejection)
            routers.append(admin.make_router(lambda: self.model_state.lineup, changes, registry, bodies))
        return routers

    def _make_console_router(self, settings: Settings, *, is_managed: bool) -> APIRouter:
        return console.make_router(
            has_metrics=settings.metrics and not is_managed,
            has_admin=settings.admin and not is_managed,
            has_records=settings.records is not None,
            is_protected=self.gate is not None,
        )

    def _make_records_router(self, settings: Settings) -> APIRouter:
        def list_scorers() -> list[Scorer]:
            model = self.model_state.model
            served = [] if model is None else [model, *([model.canary.model] if model.canary is not None else [])]
            return [each.scorer for each in served]

        bodies = BodyLimits.of(settings, self.metrics.count_rejection)
        return records.make_router(records.RecordReader(settings, list_scorers), bodies)

    def _make_oip_router(self, settings: Settings) -> APIRouter:
        most = oip.Limits(settings.max_customers, settings.max_reasoned, JsonLimits.of(settings))
        return oip.make_router(self.model_state, self.metrics, self.processor, most, self.decisions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a lifespan event."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif self._traced is not None:
            await self._traced(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = find_request_id(dict(scope["headers"]))
        bind_request_id(request_id)
        scope[REQUEST] = request_id
        method = scope["method"]
        scores = scope["path"] == PATH and method == "POST"
        routed = {**scope, "method": "GET"} if method == "HEAD" else scope
        response = ObservedResponse(
            send,
            request_id,
            method,
            (lambda: PATH) if scores else (lambda: self._label(routed)),
            self.access,
            None if scores else self.metrics.count_request,  # the endpoint counts what it scores
        )
        ticket: Ticket | None = scope.get(TICKET)
        if self.decisions is not None and ticket is not None and ticket.client.has_due:
            await self.decisions.settled()  # responses are sent in the order of the requests
        try:
            if ticket is not None and ticket.refusal is not None:
                await self._refuse(ticket.refusal, perf_counter() - ticket.arrived, routed, receive, response)
            elif (problem := await self._find_objection(routed, response)) is not None:
                await self._refuse(problem, perf_counter() - response.started, routed, receive, response)
            elif scores:
                await self.predict(routed, receive, response)
            else:
                # Starlette raises exceptions again after `respond_to_failure` has logged them and responded.
                with suppress(Exception):
                    await super().__call__(routed, receive, response)
        except asyncio.CancelledError:
            # The server cancels what is left at the end of its shutdown, and waits for nothing after that.
            if not response.has_begun:
                problem = RequestProblem.shutting_down(self._shutdown_seconds)
                await self._refuse(problem, self._shutdown_seconds, routed, receive, response, TABLE_LABEL)
        response.end()

    async def _find_objection(self, scope: Scope, response: ObservedResponse) -> Problem | None:
        """Return why a request may not be handled: before its body is read, and before it is routed."""
        if self.gate is None:
            if not self._is_for_this_machine:
                return None
            return (refuse_from_elsewhere(scope) if self._is_served_by_others else None) or refuse_other_sites(scope)
        problem = await self.gate.find_objection(scope)
        if (caller := scope.get(CALLER)) is not None:
            response.caller = caller.name
        return problem

    async def _refuse(
        self, problem: Problem, seconds: float, scope: Scope, receive: Receive, send: Send, timed_as: str = PATH
    ) -> None:
        """Respond to a request that is not scored, whatever its route."""
        self.metrics.count_rejection(problem)
        if scope["path"] == PATH and scope["method"] == "POST":  # others are counted when the response begins
            self.metrics.count_request(PATH, "POST", problem.status, seconds, timed_as)
        respond = oip.respond if f"{scope['path']}/".startswith(f"{oip.ROOT}/") else Problem.respond
        await respond(problem)(scope, receive, send)

    def _count_refusal(self, problem: Problem) -> tuple[bytes, bytes]:
        """Count and log a request that is rejected before routing; return the header with its identifier."""
        self.metrics.count_rejection(problem)
        self.metrics.count_request("other", "other", problem.status, 0.0)
        request_id = find_request_id({})
        if self.access is not None:
            self.access.log(request_id, "other", "other", problem.status, 0.0)
        return REQUEST_ID, request_id.encode()

    def _label(self, scope: Scope) -> str:
        """Return the path template as a label; "other" for unknown paths, which bounds the number of time series."""
        path: str = scope["path"]
        if path.startswith(f"{docs.STATIC}/"):
            return docs.STATIC
        if path.startswith(f"{console.FILES}/"):
            return console.FILES
        template = getattr(scope.get("route"), "path", "")  # of a path with a parameter
        return next((name for name in (path, template) if name in self._known), "other")


def create_app(settings: Settings | None = None, *, is_alone: bool = True, buckets: Path | None = None) -> FastAPI:
    """Create the application, e.g. for ``uvicorn --factory service.app:create_app``.

    Parameters
    ----------
    settings : Settings, optional
        By default read from the environment; if a variable is invalid, the process exits with a message.
    is_alone : bool
        See `ChurnService`.
    buckets : Path, optional
        Likewise.
    """
    try:
        return ChurnService(settings or read_settings(), is_alone=is_alone, buckets=buckets)
    except (SettingsError, KeysFileError, JwksError) as error:
        sys.exit(f"error: {error}")  # uvicorn would print a traceback


@asynccontextmanager
async def _live(app: Any) -> AsyncIterator[None]:  # noqa: ANN401  the ChurnService
    """Start loading the model, without waiting for it; at shutdown, flush what is buffered."""
    for name in find_unknown_variables(os.environ):
        _log.warning("unknown setting %s", name)
    running = [app.alone.run()] if app.alone is not None else []
    running += [app.gate.watch()] if app.gate is not None else []
    running += [app.performance.run()] if app.performance is not None else []
    if app.decisions is not None:
        await app.decisions.start()
    tasks = [asyncio.create_task(each) for each in running]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if app.gate is not None:
        app.gate.close()
    app.audit.close()
    app.models.close()
    app.processor.close()
    if app.decisions is not None:
        await app.decisions.close()
    app.metrics.flush()
    if app.access is not None:
        app.access.flush()
    if app.tracing is not None:
        await asyncio.to_thread(app.tracing.close)
