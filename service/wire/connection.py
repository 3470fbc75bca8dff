"""An HTTP/1.1 connection.

httptools (llhttp) parses requests, and uvicorn runs the application. This module changes uvicorn's protocol as follows:

- Upgrade requests are ignored (RFC 9110, 7.8). llhttp stops after such a head and would parse the body that follows as
  the next request.
- Request heads, idle connections and clients that don't read their responses have time limits.
- An error response is sent after the pending responses, never in place of one of them.
- An error response is followed by a lingering close (RFC 9112, 9.6), so that a client still sending can read it.
- A client that closes its sending half still receives its responses.
- Trailers are not added to the headers.
- Requests that arrive while the worker is busy wait unparsed (`service.wire.backlog`), and may be refused there.
"""

from __future__ import annotations

from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any, cast

import httptools

from service.wire.backlog import ASGI_SECONDS, MAX_WAITING_BYTES, PROBES
from service.wire.reading import (
    BODY,
    ENDED,
    FAST_BODY,
    HEAD,
    IDLE,
    LINGERING,
    check_head,
    check_host,
    check_method,
    describe_large_frame,
    describe_large_head,
    find_problem,
    refuse_pipelined,
)
from service.wire.ticket import TICKET, Ticket
from service.wire.uvicorn_internals import make_parser
from service.wire.waiting import WaitingProtocol

if TYPE_CHECKING:
    import asyncio

    from service.wire.reading import ReadState
    from service.wire.refusals import Traffic

ParserError = httptools.HttpParserError | httptools.HttpParserUpgrade


class Connection(WaitingProtocol):
    """An HTTP/1.1 connection.

    Parameters
    ----------
    traffic, *arguments, **options
        Passed to `WaitingProtocol`.
    """

    _head_bytes = 0
    """Received of an incomplete head, or of a chunked body since its last part."""

    _arrived = 0
    """The same with the data that are being parsed."""

    def __init__(self, traffic: Traffic, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(traffic, *arguments, **options)
        self._begun = 0
        self._parts: list[bytes] = []
        self._least = min(self._limits.url_bytes, self._limits.field_bytes, self._limits.head_bytes)

    # Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for idle connections."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(self._limits.unread_bytes)
        self._watchdog.watch_idle()

    def data_received(self, data: bytes) -> None:
        """Parse received data, or let them wait."""
        backlog = self._backlog
        if self.waiting_since:
            self._hold(data)
        elif self.reading is not IDLE:
            self.parse(data)
        elif backlog.room:
            backlog.room -= 1
            self.parse(data)
        elif not backlog.is_busy(self.loop) or len(data) > MAX_WAITING_BYTES or data.startswith(PROBES):
            self.parse(data)
        else:
            self.held = data
            backlog.add(self, self.waited_unread)
            self.waited_unread = 0.0

    def parse(self, data: bytes) -> None:
        """Parse received data."""
        if self._is_guest:  # a probe is answered, all else refused
            self.refusal = None if data.startswith(PROBES) else self._refusals.too_many
        before = self.reading
        if before is not IDLE:  # empty lines between requests do not keep a connection open
            self._watchdog.active = monotonic()
        if before is ENDED or before is LINGERING:
            return
        self._begun = self.fast_due + len(self.pipeline)
        self._arrived = self._head_bytes + len(data)
        error: ParserError | None = None
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as found:
            error = found  # handled below, so that it is not the context of later exceptions
        if error is not None:
            self._recover(data, error)
        if self._parts:
            self._pass_body()
        if self.reading is not IDLE:
            self._wait_for_more(len(data), before)

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what waits, and tell the application that the client has disconnected."""
        if self.waiting_since:
            self._traffic.on_left(self._backlog.forget(self))
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close after the pending responses; called by the server."""
        if self.waiting_since:
            self.resume(self._backlog.forget(self))
        super().shutdown()

    def pause_writing(self) -> None:
        """Read nothing more from a client that doesn't read its responses, and limit the time."""
        super().pause_writing()
        if self.reading is IDLE or self.reading is HEAD:  # a body has a limit of its own
            self.flow.pause_reading()
        self._watchdog.watch_unsent()

    def resume_writing(self) -> None:
        """Read on."""
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Check the time limits."""
        self._watchdog.look()

    # Parsing

    def _feed(self, data: bytes) -> ParserError | None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return error
        return None

    def _recover(self, data: bytes, error: ParserError | None) -> None:
        """Continue after an ignored upgrade request, or reject a request that can't be parsed."""
        while isinstance(error, httptools.HttpParserUpgrade):
            if self.config.log_config is not None:  # Java clients send one with each request
                self._unsupported_upgrade_warning()
            data = data[error.args[0] :]
            # llhttp would continue as if there were no body. A new parser that is given the same head without the
            # Upgrade header knows where the body ends.
            head = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            head += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = make_parser(self)
            error = self._feed(b"\r\n".join([*head, b"", b""]))
            if error is None and data:
                error = self._feed(data)
        if error is not None:
            self.refuse(find_problem(error))

    def _wait_for_more(self, size: int, before: ReadState) -> None:
        """Handle data that end in the middle of a request."""
        if self.reading is FAST_BODY:
            self.leave_fast_path()
        elif self.reading is HEAD:
            if before is not HEAD:
                self._head_bytes = 0
                self._watchdog.watch_head()
            self._head_bytes += size
            if self._head_bytes > self._limits.head_bytes:
                self.refuse(describe_large_head(self._limits, is_url=len(self.url) > self._limits.url_bytes))
        elif self.reading is BODY:
            self._head_bytes = self._head_bytes + size if self._arrived and before is BODY else 0
            if self._head_bytes > self._limits.head_bytes:
                self.refuse(describe_large_frame(self._limits))

    # Called by the parser

    def on_message_begin(self) -> None:
        """Start a request."""
        self._begun += 1
        if self._begun > self._limits.pipelined:
            refuse_pipelined(self._limits.pipelined)
        self.reading = HEAD
        self._watchdog.active = monotonic()
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header or trailer."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Start handling the request, unless its head will be parsed again."""
        parser, headers = self.parser, self.headers
        if parser.should_upgrade():
            check_method(parser.get_method())
            return
        fields = dict(headers)
        if self._arrived > self._least or len(headers) > self._limits.fields:
            check_head(self.url, headers, self._limits)
        self._head_bytes = 0
        if b"host" not in fields or len(fields) != len(headers):
            check_host(headers, parser.get_http_version())
        if self.take_fast_path(fields):
            self.reading = FAST_BODY
        else:
            self.begin_exchange()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body, which may be one of many small chunks, until all received data are parsed."""
        self._arrived = 0
        self._parts.append(body)

    def _pass_body(self) -> None:
        """Pass the received part of the body to the application."""
        parts, self._parts = self._parts, []
        self.newest.take_body(parts[0] if len(parts) == 1 else b"".join(parts))

    def on_message_complete(self) -> None:
        """End the request, unless its head will be parsed again."""
        if self.reading is BODY:
            self.reading = IDLE
            if self._parts:
                self._pass_body()
            if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
                self.newest.keep_alive = False  # llhttp evaluates this trailer, and may not parse another request
            self.newest.end_body()

    # Responses

    def take_fast_path(self, fields: dict[bytes, bytes]) -> bool:  # noqa: ARG002
        """Return whether the request takes the fast path; overridden by a subclass."""
        return False

    def leave_fast_path(self) -> None:
        """Pass the request on the fast path to the application."""

    def flush_fast_path(self) -> None:
        """Write the pending responses of the fast path."""

    def finish_fast(self, response: bytes, *, keep_alive: bool) -> None:
        """Write a response of the fast path."""
        self.server_state.total_requests += 1
        self.fast_due -= 1
        if self.reading is LINGERING or self.transport.is_closing():
            return
        self.transport.write(response)
        if not keep_alive:
            self.close()
        elif self.timeout_keep_alive_task is None or self.reading is ENDED:
            self._rest()

    def begin_exchange(self) -> None:
        """Pass the request to the application, after the pending ones."""
        if self.fast_due:
            self.flush_fast_path()
        super().begin_exchange()
        self._backlog.charge(ASGI_SECONDS)
        cast("dict[str, Any]", self.scope)[TICKET] = Ticket(self, perf_counter() - self.waited, self.refusal)
        if self._is_guest:
            self.newest.keep_alive = False
        self.reading = BODY
        if not self.flow.write_paused:
            self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Start the next request, or wait for it."""
        self.server_state.total_requests += 1
        self.running = None
        self._watchdog.active = monotonic()
        if self.is_closing():
            return
        if not self.flow.write_paused:
            self.flow.resume_reading()
        if not self.begin_next():
            self._rest()

    def _rest(self) -> None:
        """Wait for the next request or close, if no response is pending."""
        if self.is_in_flight:
            return
        if self.reading is ENDED:
            self._end()
        elif self.reading is HEAD:
            self._watchdog.watch_head()
        else:
            self._watchdog.watch_idle()
