"""Bodies of routes that FastAPI reads: it would hold and decode one of any size, in the event loop, for any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.errors import Problem
from service.guard.request_body import TimedReceive

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import Message

MAX_BYTES = 4096
"""Maximum size of a body in bytes. The largest one that makes sense has a version and a share."""


def limit_bodies(pause_seconds: float) -> type[APIRoute]:
    """Return the class of routes whose bodies have up to `MAX_BYTES`, and arrive as `TimedReceive` demands.

    Parameters
    ----------
    pause_seconds : float
        Maximum time in seconds between two parts of a body.
    """

    class SmallBodyRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handle_small(request: Request) -> Response:
                try:
                    body = await _read(request, pause_seconds)
                except Problem as problem:
                    return problem.respond()
                if body is None:
                    return Response(status_code=400)  # nobody reads it

                async def receive() -> Message:
                    return {"type": "http.request", "body": body, "more_body": False}

                return await handle(Request(request.scope, receive))

            return handle_small

    return SmallBodyRoute


async def _read(request: Request, pause_seconds: float) -> bytes | None:
    """Return the body; None if the client has left."""
    receive = TimedReceive(request.receive, pause_seconds)
    body, has_more = b"", True
    while has_more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
        if len(body) > MAX_BYTES:
            raise Problem(413, "body-too-large", "The body is too large", f"allowed here: {MAX_BYTES} bytes")
    return body
