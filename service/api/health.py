"""Whether the process lives, and whether it should get requests. Neither ever waits for scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from service.api.openapi import describe_problems
from service.errors import RequestProblem

if TYPE_CHECKING:
    from service.state import ModelState


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """Requests to score are welcome."""

    status: Literal["ready"] = "ready"
    model_version: str = Field(description="Version of the model that is served.", examples=["1"])


def make_router(state: ModelState) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Does the process answer?")
    async def live() -> Live:
        return Live()

    @router.get(
        "/ready",
        summary="Is a model loaded, verified and warm, and is the service not shutting down?",
        response_model=Ready,
        responses=describe_problems({503: "Not ready; the detail says why."}),  # type: ignore[arg-type]
    )
    async def ready() -> Ready | Response:
        if state.model is None or state.phase != "ready":
            return RequestProblem.not_ready(state.reason).respond()
        return Ready(model_version=state.model.scorer.version)

    return router
