"""The application on the management port. It runs in the supervisor, which does not score and so is never busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from churn import __version__
from churn.registry import Registry
from service.api import admin, health, metrics
from service.errors import respond_to_failure, respond_to_http_exception
from service.observe.exposition import expose_workers

if TYPE_CHECKING:
    from service.api.admin import Asking
    from service.rollout.messages import Lineup
    from service.settings import Settings


class Status(health.Readiness, Protocol):
    """What the supervisor knows of the service."""

    @property
    def lineup(self) -> Lineup | None:
        """The models that are served; None if none are."""


def make_app(settings: Settings, status: Status, models: Asking) -> FastAPI:
    """Create the application.

    Parameters
    ----------
    settings : Settings
    status : Status
    models : Asking
        Requests changes of the models, if ``CHURN_ADMIN`` is true.
    """
    app = FastAPI(
        title="Churn scoring: management",
        version=__version__,
        openapi_url=None,
        exception_handlers={
            HTTPException: respond_to_http_exception,
            RequestValidationError: admin.respond_to_invalid_request,
            Exception: respond_to_failure,
        },
    )
    app.include_router(health.make_router(status))
    app.include_router(metrics.make_router(expose_workers))
    if settings.admin:
        changes = admin.Changes(models, settings.change_seconds)
        app.include_router(admin.make_router(lambda: status.lineup, changes, Registry(settings.models)))
    return app
