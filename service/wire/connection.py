"""One HTTP/1.1 connection, and the requests on it that the application answers.

Built on uvicorn's protocol for httptools (llhttp), of which it uses private parts: no other module does, the version of
uvicorn has an upper bound, and a test fails when one of those parts changes. uvicorn is corrected in these points:

- An offer to upgrade the connection is ignored (RFC 9110, 7.8). llhttp stops at such a head and would take the body
  that follows for the next request.
- Heads, idle connections and clients that do not read their answers have time limits.
- A request is refused behind the answers that are still due, never in place of one of them.
- A refusal is followed by a lingering close (RFC 9112, 9.6), so that a client that is still sending can read it.
- The end of the client's half of the connection does not end the answer.
- Trailers are not headers.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from enum import Enum, auto
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, service_unavailable
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import MEDIA_TYPE, Problem
from service.observe.access_log import REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uvicorn._types import ASGISendEvent
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["STATUS_LINE", "Connection", "Limits", "Reading"]

LINGER_SECONDS = 30.0
"""Longest time that what a refused client still sends is read and dropped."""

LINGER_PAUSE_SECONDS = 5.0
"""Longest pause of the client in that time."""

MAX_HEAD_BYTES = 64 * 1024


class Limits(NamedTuple):
    """Time limits of a connection, in seconds; uvicorn's ``timeout_keep_alive`` is the one for idle connections."""

    head: float = 20.0
    """From the first byte of a request's head to its last."""

    send: float = 60.0
    """In which a client must take some of the answer that waits for it."""


class Reading(Enum):
    """What is read from a connection."""

    IDLE = auto()
    """Nothing: no request has begun."""

    HEAD = auto()
    """The head of a request."""

    FAST_BODY = auto()
    """The body of a request on the fast path."""

    BODY = auto()
    """The body of a request that the application answers."""

    ENDED = auto()
    """Nothing more; answers may still be due."""

    LINGERING = auto()
    """What the client sends behind the last answer; it is dropped."""


class RefusedError(Exception):
    """A request that can't be answered, so that nothing behind it can be read either.

    Attributes
    ----------
    problem : Problem
    """

    def __init__(self, status: int, kind: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, kind, title, detail)


def _is_host_valid(fields: Mapping[bytes, bytes], headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Return whether a request names its host as HTTP demands: once, and from HTTP/1.1 on at least once."""
    if b"host" not in fields:
        return version == "1.0"
    return len(fields) == len(headers) or sum(name == b"host" for name, _ in headers) == 1


class Exchange(RequestResponseCycle):
    """A request that the application answers, and its answer."""

    def __init__(self, connection: Connection, scope: Any, *, keep_alive: bool, expects_continue: bool) -> None:  # noqa: ANN401
        super().__init__(
            scope=scope,
            transport=cast("Any", connection),  # which writes, and closes as the state of the request demands
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=connection.access_log,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects_continue,
            keep_alive=keep_alive,
            on_response=connection.on_response_complete,
        )
        self._connection = connection

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start" and not self.response_started:
            # As of now: the date, and whether the server is shutting down.
            self.default_headers = self._connection.server_state.default_headers
            if self.more_body and (self.waiting_for_100_continue or message["status"] >= HTTPStatus.BAD_REQUEST):
                # The client may or may not send the body that it asked about, or be sending for long.
                self.keep_alive = False
        await super().send(message)

    def disconnect(self) -> None:
        """Tell the application that nobody waits for the answer."""
        if not self.response_complete:
            self.disconnected = True
        self.message_event.set()


class Connection(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    limits : Limits
    on_refusal : callable
        Called with the `Problem` of each request that is refused before the application sees it; returns the request's
        identifier.
    config, server_state, app_state, _loop
        As uvicorn's.
    """

    def __init__(
        self,
        limits: Limits,
        on_refusal: Callable[[Problem], str],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._on_refusal = on_refusal
        self._reading = Reading.IDLE
        self._running: Exchange | None = None
        self._fast_due = 0  # answers of the fast path
        self._active = monotonic()  # when something last arrived, or was answered
        self._since = 0.0  # when the head that is read, or the lingering, began
        self._head_bytes = 0
        self._last_answer = b""
        self._due = 0.0  # when the timer fires
        self._unsent = 0  # bytes of answers that the client has not taken, and since when there are so many
        self._unsent_since = 0.0

    # ---- what arrives

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watch(self._active + self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._active = monotonic()
        reading = self._reading
        if reading is Reading.ENDED or reading is Reading.LINGERING:
            return
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if not isinstance(cause, RefusedError):
                detail = f"Invalid HTTP request received. {error}"
                cause = RefusedError(400, "malformed-request", "The request can't be read", detail)
            self.refuse(cause.problem)
        if self._reading is Reading.HEAD:
            self._wait_for_head(len(data), began=reading is not Reading.HEAD)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked before the client ended its half of the connection."""
        if self._is_in_flight() and self._reading in {Reading.IDLE, Reading.HEAD}:
            self._reading = Reading.ENDED
            return True  # the other half stays open
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that the client has left."""
        for exchange in (self._running, *(cast("Exchange", queued) for queued, _ in self.pipeline)):
            if exchange is not None:
                exchange.disconnect()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as pause:
                data = data[pause.args[0] :]
            # llhttp goes on as if there were no body. A parser that has read the same head without the offer knows
            # where the body ends.
            head = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            head += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(b"\r\n".join([*head, b"", b""]))

    def _wait_for_head(self, size: int, *, began: bool) -> None:
        """Limit a head that is not whole yet in time and size."""
        if began:
            self._since, self._head_bytes = self._active, 0
            self._watch(self._active + self._limits.head)
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            detail = f"a request's head may have up to {MAX_HEAD_BYTES} bytes"
            self.refuse(Problem(431, "head-too-large", "The head of the request is too large", detail))

    # ---- what the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reading = Reading.HEAD
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is dropped."""
        if self._reading is Reading.HEAD:
            self.headers.append((name.lower(), value))
        elif name.lower() == b"connection" and b"close" in value.lower():
            self.cycle.keep_alive = False  # llhttp minds it, and may not read the next request

    def on_headers_complete(self) -> None:
        """Begin the answer."""
        parser = self.parser
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise RefusedError(501, "not-implemented", "The method is not implemented", "this is no proxy")
            return  # `_parse` reads the head again
        fields = dict(self.headers)
        if not _is_host_valid(fields, self.headers, parser.get_http_version()):
            raise RefusedError(400, "invalid-host", "The host is not named as HTTP demands", "send one Host header")
        if self.take_fast_path(fields):
            self._reading = Reading.FAST_BODY
        else:
            self.begin_exchange()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        exchange = self.cycle
        if exchange.response_complete:
            return
        exchange.body += body
        if len(exchange.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        exchange.message_event.set()

    def on_message_complete(self) -> None:
        """End the request, unless its head is to be read again."""
        if self._reading is Reading.BODY:
            self._reading = Reading.IDLE
            self.cycle.more_body = False
            self.cycle.message_event.set()

    # ---- the fast path of a subclass

    def take_fast_path(self, fields: dict[bytes, bytes]) -> bool:  # noqa: ARG002
        """Return whether a request is answered without the application, by `finish_fast`."""
        return False

    def flush_fast_path(self) -> None:
        """Answer the requests on the fast path now."""

    def finish_fast(self, answer: bytes, *, keep_alive: bool) -> None:
        """Send the whole answer of a request on the fast path."""
        self.server_state.total_requests += 1
        self._fast_due -= 1
        if self._reading is Reading.LINGERING or self.transport.is_closing():
            return
        self.transport.write(answer)
        if not keep_alive:
            self.close()
        elif self._reading is Reading.ENDED or self.timeout_keep_alive_task is None:
            self._rest()

    # ---- requests that the application answers

    def begin_exchange(self) -> None:
        """Hand the request whose head was read to the application, behind those before it."""
        version, headers = self.parser.get_http_version(), self.headers
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
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
            "raw_path": self.root_path.encode("ascii") + url.path,
            "query_string": url.query or b"",
            "headers": headers,
            "state": self.app_state.copy(),
        }
        exchange = Exchange(
            self,
            self.scope,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers),
        )
        self.cycle = exchange
        self._reading = Reading.BODY
        if not self.flow.write_paused:
            self._unset_keepalive_if_required()
        if self._fast_due:
            self.flush_fast_path()
        limit = self.limit_concurrency
        is_full = limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)
        app = service_unavailable if is_full else self.app
        if self._running is None:
            self._running = exchange
            self._start_asgi_task(exchange, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, app))

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        self.server_state.total_requests += 1
        self._running = None
        self._active = monotonic()
        if self._reading is Reading.LINGERING or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            exchange, app = self.pipeline.pop()
            self._running = cast("Exchange", exchange)
            self._start_asgi_task(exchange, app)
        else:
            self._rest()

    # The methods of a transport that an exchange calls.

    def write(self, data: bytes) -> None:
        """Write a part of an exchange's answer."""
        if self._reading is not Reading.LINGERING:
            self.transport.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing more is sent."""
        return self._reading is Reading.LINGERING or self.transport.is_closing()

    def close(self) -> None:
        """Close behind what was written."""
        if self.is_closing():
            return
        if self._reading is Reading.BODY or self.pipeline:
            self._linger()
        else:
            self._close()

    # ---- the end

    def refuse(self, problem: Problem) -> None:
        """Refuse a request that can't be read, behind the answers that are due, and close."""
        request_id = self._on_refusal(problem)
        broken = self._reading is Reading.BODY
        self._reading = Reading.ENDED
        self._last_answer = self._encode(problem, request_id)
        if broken:  # the rest of its body can't be read
            exchange = cast("Exchange", self.cycle)
            if exchange.response_started:
                self._last_answer = b""
            exchange.disconnect()
            if exchange is self._running:
                self._running = None
            elif not exchange.response_complete:
                self.pipeline.popleft()
        if not self._is_in_flight():
            self._end()

    def shutdown(self) -> None:
        """Close the connection when what is in flight is answered; the server calls this."""
        if not self._is_in_flight():
            self._close()
        elif self._running is None:
            self._reading = Reading.ENDED
        else:
            self.cycle.keep_alive = False

    def _encode(self, problem: Problem, request_id: str) -> bytes:
        body = problem.encode()
        fields = [field for field in self.server_state.default_headers if field[0] != b"connection"]
        fields += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        fields += [(REQUEST_ID, request_id.encode()), (b"connection", b"close")]
        return STATUS_LINE[problem.status] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n" + body

    def _end(self) -> None:
        if self._last_answer:
            self.transport.write(self._last_answer)
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """End our half of the connection; what still arrives is dropped, since closing would reset the connection."""
        self._reading = Reading.LINGERING
        self._running = None
        for exchange, _ in self.pipeline:
            cast("Exchange", exchange).disconnect()
        self.pipeline.clear()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._since = self._active = monotonic()
        self._watch(self._active + LINGER_PAUSE_SECONDS)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            self._watch_answer()

    def _is_in_flight(self) -> bool:
        return self._running is not None or self._fast_due > 0

    # ---- time limits: one timer, which may fire too early but not too late

    def pause_writing(self) -> None:
        """Wait for the client to take what is written."""
        super().pause_writing()
        self._watch_answer()

    def _rest(self) -> None:
        """Wait for the next request, or close, when nothing is due any more."""
        if self._is_in_flight():
            return
        if self._reading is Reading.ENDED:
            self._end()
        elif self._reading is Reading.HEAD:
            self._since = self._active
            self._watch(self._active + self._limits.head)
        else:
            self._watch(self._active + self.timeout_keep_alive)

    def _watch_answer(self) -> None:
        self._unsent = 0
        if self._note_unsent():
            self._watch(self._unsent_since + self._limits.send)

    def _note_unsent(self) -> int:
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, monotonic()
        return unsent

    def _watch(self, due: float) -> None:
        """See to the limits no later than at `due`."""
        if self.timeout_keep_alive_task is not None:
            if self._due <= due:
                return
            self.timeout_keep_alive_task.cancel()
        self._due = due
        self.timeout_keep_alive_task = self.loop.call_later(due - monotonic(), self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """End what has taken too long; else look again when it could have."""
        self.timeout_keep_alive_task = None
        transport = self.transport
        if transport.is_closing() or self.flow.write_paused:
            self._note_unsent()
            self._expire(self._unsent_since + self._limits.send, transport.abort)
        elif self._reading is Reading.LINGERING:
            self._expire(min(self._active + LINGER_PAUSE_SECONDS, self._since + LINGER_SECONDS), transport.abort)
        elif self._is_in_flight():
            pass  # the answer's end sets the timer
        elif self._reading is Reading.HEAD:
            self._expire(self._since + self._limits.head, self._refuse_slow_head)
        else:
            self._expire(self._active + self.timeout_keep_alive, self._close)

    def _expire(self, due: float, act: Callable[[], None]) -> None:
        if due <= self._due:
            act()
        else:
            self._watch(due)

    def _refuse_slow_head(self) -> None:
        detail = f"the head of the request was not whole after {self._limits.head:g} s (CHURN_HEAD_SECONDS)"
        self.refuse(Problem(408, "request-timeout", "The request took too long", detail))
