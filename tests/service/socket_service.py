"""A service on a socket, in a thread of the test's process, and requests to it byte by byte."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from waiting import DEADLINE, wait_until

from service.server import Server
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JSON = "Content-Type: application/json\r\n"


class Running:
    """A service on a socket, in a thread of this process; by default in a loop of asyncio's own."""

    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None

    def __init__(self, models: Path, **changes: Any) -> None:
        from service.app import create_app

        settings: dict[str, Any] = {"models": models, "engine": "onnx", "access_log": False, "drain_seconds": 0}
        app: Any = create_app(Settings(**(settings | changes)))
        self.app = app
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        config = uvicorn.Config(
            self.app, log_config=None, ws="none", server_header=False, date_header=False,
            http=self.app.protocol,
        )  # fmt: skip
        self.server = Server(config, self.app, 0)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        wait_until(lambda: self.app.model_state.phase == "ready")
        wait_until(lambda: self.server.started)

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server._serve([self.listener])

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=DEADLINE)

    def send(self, *parts: bytes, until: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
        """Send bytes in parts on one connection and return the answers."""
        with self.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for position, part in enumerate(parts):
                if position:
                    threading.Event().wait(0.05)
                connection.sendall(part)
            return read_answers(connection, until)

    def end(self) -> None:
        self.server.handle_exit(15, None)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class Stream:
    """What a connection brings; less than is asked for where it ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""

    def take(self, size: int) -> bytes:
        while len(self._data) < size and self._receive():
            pass
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def take_to(self, mark: bytes) -> bytes:
        while mark not in self._data and self._receive():
            pass
        taken, _, self._data = self._data.partition(mark)
        return taken

    def _receive(self) -> bool:
        more = self._connection.recv(1 << 16)
        self._data += more
        return bool(more)


def read_answers(connection: socket.socket, until: int) -> list[tuple[int, dict[str, str], bytes]]:
    """Return the status, headers and body of the next answers; fewer if the connection ends."""
    stream = Stream(connection)
    answers: list[tuple[int, dict[str, str], bytes]] = []
    while len(answers) < until and (head := stream.take_to(b"\r\n\r\n")):
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        body = stream.take(int(headers.get("content-length", 0)))
        if "transfer-encoding" in headers:
            while size := int(stream.take_to(b"\r\n") or b"0", 16):
                body += stream.take(size + 2)[:size]
            stream.take(2)
        status = int(lines[0].split()[1])
        if status != 100:
            answers.append((status, headers, body))
    return answers


def request(body: bytes, headers: str = JSON, line: str = "POST /predict HTTP/1.1") -> bytes:
    return f"{line}\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def serving(models: Path, **changes: Any) -> Iterator[Running]:
    service = Running(models, **changes)
    try:
        yield service
    finally:
        service.end()


def read(service: Running, name: str) -> float:
    text = service.app.metrics.expose().decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    return float(values.get(name, 0))
