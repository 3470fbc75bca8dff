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
from service.guard.protection import make_gate
from service.observe.access_log import find_request_id
from service.observe.audit import AuditLog
from service.observe.exposition import expose_workers
from service.observe.guard_metrics import GuardMetrics
from service.observe.logs import bind_request_id
from service.observe.responses import ObservedResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from service.api.admin import Asking
    from service.rollout.messages import Lineup
    from service.settings import Settings


class Status(health.Readiness, Protocol):
    """What the supervisor knows of the service."""

    @property
    def lineup(self) -> Lineup | None:
        """The models that are served; None if none are."""


class ManagementApp(FastAPI):
    """The application.

    Requests need the same credentials as on the port of the service. What is refused is in the audit log; it is not
    counted in the metrics, which are those of the workers.

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
        self.gate = make_gate(settings, GuardMetrics(CollectorRegistry()), self.audit, buckets)
        self.include_router(health.make_router(status))
        if settings.metrics:
            self.include_router(metrics.make_router(expose_workers))
        if settings.admin:
            changes = admin.Changes(models, settings.change_seconds, self.audit)
            registry = Registry(settings.models)
            self.include_router(admin.make_router(lambda: status.lineup, changes, registry, settings.body_seconds))

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
        problem = None if self.gate is None else await self.gate.find_objection(routed)
        if problem is not None:
            await problem.respond()(routed, receive, response)
            return
        # Starlette raises exceptions again after `respond_to_failure` has logged them and responded.
        with suppress(Exception):
            await super().__call__(routed, receive, response)


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
