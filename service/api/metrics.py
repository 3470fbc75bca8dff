"""The route that Prometheus scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from service.observe.metrics import Metrics


def make_router(metrics: Metrics) -> APIRouter:
    """Create the route."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", summary="Metrics in the Prometheus text format", response_class=PlainTextResponse)
    async def expose() -> PlainTextResponse:
        return PlainTextResponse(metrics.expose(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
