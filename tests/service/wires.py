"""A connection without a socket: what it writes for what it is fed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from uvicorn.server import ServerState

from service.wire.admission import Admission
from service.wire.backlog import Backlog
from service.wire.connection import Connection
from service.wire.reading import Limits
from service.wire.refusals import Refusals, Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.errors import Problem


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = self.has_ended = self.is_paused = False

    def write(self, data: Any) -> None:
        assert not self.has_ended
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def write_eof(self) -> None:
        self.has_ended = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high
        assert low is None


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was understood."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    answer = json.dumps([scope["method"], scope["path"], body.decode("latin-1")]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


class Wire:
    """A connection of an application."""

    def __init__(self, app: Any = echo, limits: Limits | None = None) -> None:
        self.refused: list[Problem] = []
        self.transport = Transport()
        config = uvicorn.Config(app, ws="none", log_config=None, timeout_keep_alive=75)
        self.backlog = Backlog(Admission(60.0))
        self.refused_waiting: list[tuple[str, float]] = []
        self.left: list[float] = []
        refusals = Refusals(60.0, b"POST / ", lambda *refused: self.refused_waiting.append(refused))
        traffic = Traffic(self.backlog, refusals, self.left.append)
        self.connection = Connection(traffic, limits or Limits(), self._refuse, config, ServerState(), {})
        self.connection.connection_made(self.transport)

    def _refuse(self, problem: Problem) -> tuple[bytes, bytes]:
        self.refused.append(problem)
        return b"x-request-id", b"refused"

    async def feed(self, parts: Sequence[bytes]) -> bytes:
        """Feed parts as the transport would; return what is written in all."""
        for part in parts:
            await self.settle()
            if self.transport.is_closed:
                break
            self.connection.data_received(part)
        await self.settle()
        return self.transport.written

    async def settle(self) -> None:
        """Let the application do what it can, and go on until it lets the client send."""
        for _ in range(20):
            await asyncio.sleep(0)

    def lose(self) -> None:
        """End the connection, so that nothing of it is left."""
        if self.connection.parser is not None:
            self.connection.connection_lost(None)


def feed(parts: Sequence[bytes], app: Any = echo) -> bytes:
    """Return what a connection writes for what it is fed in parts."""

    async def run() -> bytes:
        wire = Wire(app)
        try:
            return await wire.feed(parts)
        finally:
            wire.lose()
            await asyncio.sleep(0)

    return asyncio.run(run())


def list_answers(written: bytes) -> list[tuple[int, Any]]:
    """Return the status of each answer and what `echo` understood."""
    answers = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 100:
            written = rest
            continue
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert len(rest) >= size
        answers.append((status, cast("list[Any]", json.loads(rest[:size]))))
        written = rest[size:]
    return answers
