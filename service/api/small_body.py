"""Bodies of routes that FastAPI reads: it would hold and decode one of any size, in the event loop, for any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.errors import Problem
from service.guard.request_body import TimedReceive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import Message

    from service.settings import Settings


class BodyLimits(NamedTuple):
    """Limits of these bodies, and what counts refusals.

    Attributes
    ----------
    size : int
        Maximum size in bytes.
    pause_seconds : float
        Maximum time in seconds between two parts; see `TimedReceive`.
    note : callable
        Called with each problem.
    """

    size: int
    pause_seconds: float
    note: Callable[[Problem], None]

    @classmethod
    def of(cls, settings: Settings, note: Callable[[Problem], None]) -> BodyLimits:
        """Return the limits that are set."""
        return cls(settings.max_admin_bytes, settings.body_seconds, note)


def limit_bodies(limits: BodyLimits) -> type[APIRoute]:
    """Return the class of routes whose bodies are limited."""

    class SmallBodyRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_small(request: Request) -> Response:
                async def receive() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                try:
                    body = await _read(request, limits)
                    if body is None:
                        return Response(status_code=400)  # nobody reads it
                    return await handle(Request(request.scope, receive))
                except Problem as problem:
                    limits.note(problem)
                    return problem.respond()

            return handle_small

    return SmallBodyRoute


async def _read(request: Request, limits: BodyLimits) -> bytes | None:
    """Return the body; None if the client has left."""
    receive = TimedReceive(request.receive, limits.pause_seconds)
    body, has_more = b"", True
    while has_more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
        if len(body) > limits.size:
            detail = f"allowed here: {limits.size} bytes (CHURN_MAX_ADMIN_BYTES)"
            raise Problem(413, "body-too-large", "The body is too large", detail, limit="max_admin_bytes")
    return body
