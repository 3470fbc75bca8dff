"""A worker that scores all requests, or refuses all but the first; run by `refusals.py`.

``refusing_service.py score PORT MODELS``, or ``refuse``, or ``least``. To refuse, it takes what an overloaded worker
does with a request that came last, for every request, once it knows the head of the requests. ``least`` is no
service: it answers whatever is received with the same bytes, the least that an event loop and Python can do.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from service.app import create_app
from service.errors import RequestProblem, encode_closing
from service.server import Server
from service.settings import Settings
from service.wire import backlog
from service.wire.admission import Admission
from service.wire.refusals import KnownHeads

FILES = 4096


def refuse_all() -> None:
    """Refuse every request that waits."""
    constants: Any = backlog
    admission: Any = Admission
    constants.TURN_SECONDS = constants.MAX_TURN_SECONDS = 0.0
    constants.LEAST_WAITING, constants.EXCESS_SHARE = -1, float("inf")
    admission.count_excess = lambda _, waiting: waiting


def refuse_when_known() -> None:
    """Let all requests wait, so that their head becomes known, and refuse all from then on."""
    heads: Any = KnownHeads
    waiting: Any = backlog.Backlog
    learn, is_busy = heads.learn, waiting.is_busy

    def learn_first(self: KnownHeads, data: bytes, body_bytes: int) -> None:
        learn(self, data, body_bytes)
        refuse_all()

    def is_always_busy(self: backlog.Backlog, loop: asyncio.AbstractEventLoop) -> bool:
        is_busy(self, loop)
        self.room = 0
        return True

    heads.learn, waiting.is_busy = learn_first, is_always_busy


class Least(asyncio.Protocol):
    """A protocol that refuses whatever is received."""

    response = encode_closing(RequestProblem.queue_full(0.2)).replace(b"connection: close\r\n", b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        """Send the response."""
        self._transport.write(self.response)


async def serve_least(listener: socket.socket) -> None:
    """Serve for ever."""
    server = await asyncio.get_running_loop().create_server(Least, sock=listener, backlog=FILES)
    await server.serve_forever()


def main() -> None:
    """Serve until stopped."""
    way, port, models = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    if way == "least":
        uvloop.run(serve_least(listener))
        return
    if way == "refuse":
        refuse_when_known()
    app: Any = create_app(Settings(models=models, engine="onnx", threads=1, access_log=False))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, http=app.protocol, ws="none", lifespan="on", server_header=False
    )
    Server(config, app, 0.1).run([listener])


if __name__ == "__main__":
    main()
