"""One HTTP/1.1 connection: how requests are told apart, in which order they are answered, and how it ends.

httptools (llhttp) parses, and uvicorn runs the application. uvicorn's protocol is corrected in these points:

- An offer to upgrade the connection is ignored (RFC 9110, 7.8). llhttp stops at such a head and would take the body
  that follows for the next request.
- Heads, idle connections and clients that don't read their responses have time limits.
- A request is refused behind the responses that are due, never in place of one of them.
- A refusal is followed by a lingering close (RFC 9112, 9.6), so that a client that is still sending can read it.
- The end of the client's half of the connection does not end the response.
- Trailers are not headers.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import httptools

from service.wire.closing import ClosingProtocol
from service.wire.reading import (
    BODY,
    ENDED,
    FAST_BODY,
    HEAD,
    IDLE,
    LINGERING,
    MAX_HEAD_BYTES,
    check_host,
    check_method,
    describe_large_head,
    find_problem,
)
from service.wire.uvicorn_internals import make_parser

if TYPE_CHECKING:
    import asyncio

    from service.wire.reading import Reading

ParserError = httptools.HttpParserError | httptools.HttpParserUpgrade


class Connection(ClosingProtocol):
    """One connection; its parameters are those of `ClosingProtocol`."""

    _head_bytes = 0

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._watchdog.watch_idle()

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        before = self.reading
        if before is not IDLE:  # empty lines between requests do not keep a connection open
            self._watchdog.active = monotonic()
        if before is ENDED or before is LINGERING:
            return
        error: ParserError | None = None
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as found:
            error = found  # handled below, since it would become the context of what is raised meanwhile
        if error is not None:
            self._recover(data, error)
        if self.reading is not IDLE:
            self._wait_for_more(len(data), before)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked before the client ended its half of the connection."""
        if self.is_in_flight and (self.reading is IDLE or self.reading is HEAD):
            self.reading = ENDED
            return True  # the other half stays open
        return None

    def pause_writing(self) -> None:
        """Limit the time in which the client reads nothing."""
        super().pause_writing()
        self._watchdog.watch_unsent()

    def timeout_keep_alive_handler(self) -> None:
        """See to the time limits."""
        self._watchdog.look()

    def _feed(self, data: bytes) -> ParserError | None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return error
        return None

    def _recover(self, data: bytes, error: ParserError | None) -> None:
        """Go on behind an offer to upgrade, or refuse what can't be read."""
        while isinstance(error, httptools.HttpParserUpgrade):
            if self.config.log_config is not None:  # a Java client would fill the service's log
                self._unsupported_upgrade_warning()
            data = data[error.args[0] :]
            # llhttp would go on as if there were no body. A parser that has read the same head without the offer knows
            # where the body ends.
            head = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
            head += [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
            self.parser = make_parser(self)
            error = self._feed(b"\r\n".join([*head, b"", b""]))
            if error is None and data:
                error = self._feed(data)
        if error is not None:
            self.refuse(find_problem(error))

    def _wait_for_more(self, size: int, before: Reading) -> None:
        """Wait for the rest of a request."""
        if self.reading is FAST_BODY:
            self.leave_fast_path()
        elif self.reading is HEAD:
            if before is not HEAD:
                self._head_bytes = 0
                self._watchdog.watch_head()
            self._head_bytes += size
            if self._head_bytes > MAX_HEAD_BYTES:
                self.refuse(describe_large_head())

    # The parser's side

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.reading = HEAD
        self._watchdog.active = monotonic()
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, or a trailer."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Hand the request on, unless its head is to be read again."""
        parser, headers = self.parser, self.headers
        if parser.should_upgrade():
            check_method(parser.get_method())
            return
        fields = dict(headers)
        if b"host" not in fields or len(fields) != len(headers):
            check_host(headers, parser.get_http_version())
        if self.take_fast_path(fields):
            self.reading = FAST_BODY
        else:
            self.begin_exchange()

    def on_body(self, body: bytes) -> None:
        """Read a part of the body."""
        self.newest.take_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless its head is to be read again."""
        if self.reading is BODY:
            self.reading = IDLE
            if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
                self.newest.keep_alive = False  # a trailer that llhttp minds: it may not read the next request
            self.newest.end_body()

    # Responses

    def take_fast_path(self, fields: dict[bytes, bytes]) -> bool:  # noqa: ARG002
        """Return whether a subclass answers a request without the application."""
        return False

    def leave_fast_path(self) -> None:
        """Hand a request on the fast path to the application."""

    def flush_fast_path(self) -> None:
        """Write the responses that are due on the fast path."""

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
        """Hand a request to the application, behind what is due."""
        if self.fast_due:
            self.flush_fast_path()
        super().begin_exchange()
        self.reading = BODY
        if not self.flow.write_paused:
            self._unset_keepalive_if_required()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        self.server_state.total_requests += 1
        self.running = None
        self._watchdog.active = monotonic()
        if self.is_closing():
            return
        self.flow.resume_reading()
        if not self.begin_next():
            self._rest()

    def _rest(self) -> None:
        """Wait for the next request, or close, when no response is due any more."""
        if self.is_in_flight:
            return
        if self.reading is ENDED:
            self._end()
        elif self.reading is HEAD:
            self._watchdog.watch_head()
        else:
            self._watchdog.watch_idle()
