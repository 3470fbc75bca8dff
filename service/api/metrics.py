"""The route that Prometheus scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Callable


def make_router(expose_metrics: Callable[[], bytes]) -> APIRouter:
    """Create the route.

    Parameters
    ----------
    expose_metrics : callable
        Returns the metrics in the text format.
    """
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", summary="Metrics in the Prometheus text format", response_class=PlainTextResponse)
    async def expose() -> PlainTextResponse:
        return PlainTextResponse(expose_metrics(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
