"""Services running inside the test's process, and what is asked of them."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient
from waiting import wait_until

from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def start(models: Path, **changes: Any) -> Iterator[TestClient]:
    """Start a service in this process and wait until it is ready."""
    settings: dict[str, Any] = {"models": models, "engine": "onnx", "access_log": False}
    app = create_app(Settings(**(settings | changes)))
    with TestClient(app) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        yield client


def send_in_parts(client: TestClient, parts: list[bytes], *, leave: bool = False) -> list[Any]:
    """Post a body to the application in parts, which TestClient would join; return the messages it sends.

    With `leave`, the client is gone after the last part instead of ending its request.
    """
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if leave:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "headers": [(b"content-type", b"application/json")],
    }

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    return sent


def read_metrics(client: Any) -> dict[str, float]:
    """Scrape; return each series' value."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
