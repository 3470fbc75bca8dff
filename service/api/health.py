"""Health checks: liveness and readiness. Neither waits for requests that are being scored."""

from __future__ import annotations

from typing import Literal, Protocol

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.openapi import describe_problems
from service.errors import RequestProblem


class Readiness(Protocol):
    """What knows whether the service is ready."""

    @property
    def ready_version(self) -> str | None:
        """Version that scores the customers; None if the service is not ready."""

    @property
    def reason(self) -> str:
        """Why it is not ready."""


class Live(BaseModel):
    """The process responds."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The service accepts scoring requests."""

    status: Literal["ready"] = "ready"
    model_version: str = Field(description="Version of the served model.", examples=["1"])


def make_router(state: Readiness) -> APIRouter:
    """Create the routes."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Liveness: the process responds")
    async def live() -> Live:
        return Live()

    @router.get(
        "/ready",
        summary="Readiness: a model is loaded and verified, and the service is not shutting down",
        response_model=Ready,
        responses=describe_problems({503: "Not ready; the detail says why."}),  # type: ignore[arg-type]
    )
    async def ready() -> Ready | Response:
        if (version := state.ready_version) is None:
            return RequestProblem.not_ready(state.reason).respond()
        return Ready(model_version=version)

    return router
