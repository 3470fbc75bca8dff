"""All code that depends on private parts of uvicorn, whose version pyproject.toml therefore limits.

tests/service/wire/test_uvicorn_internals.py reports the part that has changed.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl, service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.wire.descriptors import find_most_connections
from service.wire.intake import Intake
from service.wire.listening import admit_new, count_waiting, ignore_new, is_ignoring_new

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from uvicorn._types import ASGISendEvent, HTTPScope

    from service.wire.intake import AcceptPolicy
    from service.wire.spread import Spread

__all__ = [
    "STATUS_LINE",
    "Config",
    "Exchange",
    "ExchangingProtocol",
    "FlowControl",
    "ServerState",
    "TickingServer",
    "make_parser",
]

CLOSE = (b"connection", b"close")


def make_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """Return a parser with the callbacks of `protocol` and uvicorn's settings."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class Exchange(RequestResponseCycle):
    """A request to the application and its response.

    Parameters
    ----------
    connection : ExchangingProtocol
    scope : dict
    keep_alive : bool
        Whether the connection stays open after the response.
    """

    def __init__(self, connection: ExchangingProtocol, scope: HTTPScope, *, keep_alive: bool) -> None:
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])
        super().__init__(
            scope=scope,
            transport=cast("Any", connection),  # whose `close` depends on the state of the connection
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=connection.access_log,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self._server_state = connection.server_state

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start" and not self.response_started:
            # The current headers: they have the date, and "connection: close" during a shutdown.
            self.default_headers = self._server_state.default_headers
            if self.more_body and (self.waiting_for_100_continue or message["status"] >= HTTPStatus.BAD_REQUEST):
                # The client may not send the body it has asked about, or may take long to send it.
                self.keep_alive = False
        await super().send(message)

    def take_body(self, body: bytes) -> None:
        """Pass a part of the body to the application."""
        if self.response_complete:
            return
        self.body += body
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.message_event.set()

    def end_body(self) -> None:
        """Tell the application that the body is complete."""
        self.more_body = False
        self.message_event.set()

    def disconnect(self) -> None:
        """Tell the application that the client has disconnected."""
        if not self.response_complete:
            self.disconnected = True
        self.message_event.set()


class ExchangingProtocol(HttpToolsProtocol):
    """Protocol that runs the exchanges of a connection one after the other; subclasses manage the connection.

    The running exchange uses this object as its transport.

    Attributes
    ----------
    running : Exchange or None
        The exchange with the next response.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.running: Exchange | None = None

    @property
    def newest(self) -> Exchange:
        """The exchange with the latest request."""
        return cast("Exchange", self.cycle)

    @property
    def queued(self) -> Iterator[Exchange]:
        """The exchanges waiting for the running one."""
        return (cast("Exchange", exchange) for exchange, _ in self.pipeline)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the client has disconnected, for all exchanges."""
        for exchange in (self.running, *self.queued):
            if exchange is not None:
                exchange.disconnect()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def begin_exchange(self) -> None:
        """Pass the request whose head has been parsed to the application, after the previous ones."""
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        raw_path = url.path or b"/"  # an absolute form may have none (RFC 9110, 4.2.3)
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        headers, self.headers = self.headers, []  # trailers must not become headers of the scope
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "root_path": self.root_path,
            "path": self.root_path + path,
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": url.query or b"",
            "headers": headers,
            "state": self.app_state.copy(),
        }
        exchange = Exchange(self, self.scope, keep_alive=version != "1.0" and self.parser.should_keep_alive())
        self.cycle = exchange
        limit = self.limit_concurrency
        is_full = limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)
        app = service_unavailable if is_full else self.app
        if self.running is None:
            self.running = exchange
            self._start_asgi_task(exchange, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, app))

    def begin_next(self) -> bool:
        """Start the oldest waiting exchange; return whether there is one."""
        if not self.pipeline:
            return False
        exchange, app = self.pipeline.pop()
        self.running = cast("Exchange", exchange)
        self._start_asgi_task(exchange, app)
        return True

    def drop_newest(self) -> None:
        """Cancel the latest exchange, whose body can't be read any further."""
        exchange = self.newest
        if exchange is self.running:
            self.running = None
        elif not exchange.response_complete:
            self.pipeline.popleft()
        exchange.disconnect()

    def drop_queued(self) -> None:
        """Cancel all exchanges except the running one."""
        for exchange in self.queued:
            exchange.disconnect()
        self.pipeline.clear()


class TickingServer(uvicorn.Server):
    """uvicorn's server with a periodic callback, an intake of our own and methods for a graceful shutdown.

    Parameters
    ----------
    config : uvicorn.Config
    policy : AcceptPolicy
    spread : Spread
        Numbers of connections of the workers.
    most_connections : int, optional
        Maximum number of connections; by default as many as the limit of files allows.
    """

    def __init__(
        self, config: Config, policy: AcceptPolicy, spread: Spread, most_connections: int | None = None
    ) -> None:
        super().__init__(config)
        self._policy = policy
        self._spread = spread
        self._most_connections = find_most_connections(most_connections)
        self._listeners: list[socket.socket] = []
        self._intakes: list[Intake] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections."""
        await super().startup(sockets=[])
        for listener in sockets or ():
            self._listeners.append(listener)
            self._intakes.append(
                Intake(
                    listener,
                    self._make_protocol,
                    self.count_connections,
                    self._most_connections,
                    self._policy,
                    self._spread,
                )
            )

    def _make_protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def tick(self, *, is_new_second: bool) -> None:
        """Periodic callback, called ten times per second; does nothing by default."""

    async def on_tick(self, counter: int) -> bool:
        """Call `tick`; return whether the server should stop."""
        for intake in self._intakes:
            intake.report()
        self.tick(is_new_second=counter % 10 == 0)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections, and close all of them after their responses."""
        self.stop_accepting()
        await super().shutdown(sockets)

    def announce_close(self) -> bool:
        """Add "connection: close" to all responses from now on; return False if it had been added already."""
        if CLOSE in self.config.encoded_headers:
            return False
        self.config.encoded_headers.append(CLOSE)  # source of the default headers, which are rebuilt every second
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        return True

    def stop_accepting(self) -> None:
        """Stop accepting connections."""
        for intake in self._intakes:
            intake.close()

    def ignore_new(self) -> None:
        """Let the kernel ignore new connections; those that wait are still accepted."""
        for listener in self._listeners:
            ignore_new(listener)

    def admit_new(self) -> None:
        """Undo `ignore_new`."""
        for listener in self._listeners:
            admit_new(listener)

    @property
    def is_ignoring_new(self) -> bool:
        """Whether the kernel ignores new connections."""
        return all(map(is_ignoring_new, self._listeners))

    def count_waiting(self) -> int:
        """Return the number of connections that wait to be accepted."""
        return sum(map(count_waiting, self._listeners))

    def count_connections(self) -> int:
        """Return the number of open connections."""
        return len(self.server_state.connections)
