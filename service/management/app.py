"""The application on the management port. It runs in the supervisor, which does not score and so is never busy."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from churn import __version__
from churn.registry import Registry
from service.api import admin, health, metrics
from service.api.exceptions import EXCEPTION_HANDLERS
from service.api.small_body import BodyLimits
from service.guard.protection import is_for_this_machine, make_gate, refuse_other_sites
from service.observe.access_log import find_request_id
from service.observe.audit import AuditLog
from service.observe.exposition import expose_workers
from service.observe.guard_metrics import GuardMetrics
from service.observe.logs import bind_request_id
from service.observe.rejections import Rejections
from service.observe.responses import ObservedResponse
from service.wire.ticket import TICKET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from service.api.admin import Asking
    from service.errors import Problem
    from service.rollout.messages import Lineup
    from service.settings import Settings
    from service.wire.ticket import Ticket


class Status(health.Readiness, Protocol):
    """What the supervisor knows of the service."""

    @property
    def lineup(self) -> Lineup | None:
        """The models that are served; None if none are."""


class ManagementApp(FastAPI):
    """The application.

    Requests need the same credentials as on the port of the service. What is refused is in the audit log, and counted
    in the metrics, which are otherwise those of the workers.

    Parameters
    ----------
    settings : Settings
    status : Status
    models : Asking
        Requests changes of the models, if ``CHURN_ADMIN`` is true.
    buckets : Path
        File of the rate limits, shared with the workers.

    Raises
    ------
    KeysFileError, JwksError
        If a file of keys has faults.
    """

    def __init__(self, settings: Settings, status: Status, models: Asking, buckets: Path) -> None:
        super().__init__(
            title="Churn scoring: management",
            version=__version__,
            openapi_url=None,
            lifespan=_live,
            exception_handlers=EXCEPTION_HANDLERS,
        )
        self.audit = AuditLog(settings.audit_log)
        registry = CollectorRegistry()
        self.rejections = Rejections(registry)
        self._is_for_this_machine = is_for_this_machine(settings)
        self.gate = make_gate(settings, GuardMetrics(registry), self.audit, buckets)
        self.include_router(health.make_router(status))
        if settings.metrics:
            self.include_router(metrics.make_router(expose_workers))
        if settings.admin:
            changes = admin.Changes(models, settings.change_seconds, self.audit)
            bodies = BodyLimits.of(settings, self.rejections.count)
            self.include_router(admin.make_router(lambda: status.lineup, changes, Registry(settings.models), bodies))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a lifespan event."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request_id = find_request_id(dict(scope["headers"]))
        bind_request_id(request_id)
        method = scope["method"]
        routed = {**scope, "method": "GET"} if method == "HEAD" else scope
        response = ObservedResponse(send, request_id, method, lambda: "management", None, None)
        ticket: Ticket | None = scope.get(TICKET)
        problem: Problem | None = None if ticket is None else ticket.refusal
        if problem is None:
            problem = await self._find_objection(routed)
        if problem is not None:
            self.rejections.count(problem)
            await problem.respond()(routed, receive, response)
            return
        # Starlette raises exceptions again after `respond_to_failure` has logged them and responded.
        with suppress(Exception):
            await super().__call__(routed, receive, response)

    async def _find_objection(self, scope: Scope) -> Problem | None:
        if self.gate is not None:
            return await self.gate.find_objection(scope)
        return refuse_other_sites(scope) if self._is_for_this_machine else None


@asynccontextmanager
async def _live(app: ManagementApp) -> AsyncIterator[None]:
    """Follow the files of keys."""
    gate = app.gate
    if gate is None:
        yield
    else:
        watching = asyncio.create_task(gate.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        gate.close()
    app.audit.close()
