"""Close connections: after the pending responses, with an error response if necessary, and without a TCP reset.

An error response is followed by a lingering close (RFC 9112, 9.6), so that a client that is still sending can read it.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from time import monotonic
from typing import TYPE_CHECKING, Any

from service.errors import MEDIA_TYPE
from service.safe_headers import SAFE_FIELDS
from service.wire.reading import BODY, ENDED, HEAD, IDLE, LINGERING, describe_slow_head
from service.wire.uvicorn_internals import STATUS_LINE, ExchangingProtocol
from service.wire.watchdog import Watchdog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from service.errors import Problem
    from service.wire.reading import Limits, ReadState
    from service.wire.uvicorn_internals import Config, ServerState


REQUEST_SECONDS = 1.0
"""For how long a connection that has just been opened, or used, is left open for the next request at the shutdown."""

LOOK_SECONDS = 0.1
"""Interval at which a connection is looked at on which a request has begun to arrive at the shutdown."""


def has_unread(transport: asyncio.Transport) -> bool:
    """Return whether the kernel has data of a connection that have not been read."""
    opened = transport.get_extra_info("socket")
    if opened is None or opened.fileno() < 0:
        return False
    found: int = struct.unpack("i", fcntl.ioctl(opened.fileno(), termios.FIONREAD, bytes(4)))[0]
    return found > 0


class ClosingProtocol(ExchangingProtocol):
    """Protocol with the closing of a connection.

    Parameters
    ----------
    limits : Limits
    on_refusal : callable
        Called with the `Problem` of each request that is rejected before it reaches the application; returns a header
        for the response.
    config, server_state, app_state, _loop
        Parameters of uvicorn's protocol.

    Attributes
    ----------
    reading : ReadState
        What is expected from the client.
    fast_due : int
        Number of pending responses on the fast path of a subclass.
    waiting_since : float
        When the request that waits in the backlog was read; 0 if none waits.
    """

    def __init__(
        self,
        limits: Limits,
        on_refusal: Callable[[Problem], tuple[bytes, bytes]],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._on_refusal = on_refusal
        self._last_response = b""
        self._watchdog = Watchdog(self, limits)
        self.reading: ReadState = IDLE
        self.fast_due = 0
        self.waiting_since = 0.0

    @property
    def is_in_flight(self) -> bool:
        """Whether a response is pending."""
        return self.running is not None or self.fast_due > 0 or self.waiting_since > 0

    # Transport interface used by exchanges

    def write(self, data: bytes) -> None:
        """Write a part of a response."""
        if self.reading is not LINGERING:
            self.transport.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing more will be written."""
        return self.reading is LINGERING or self.transport.is_closing()

    def close(self) -> None:
        """Close after the data written so far; linger if the client is still sending."""
        if self.is_closing():
            return
        if self.reading is BODY or self.pipeline:
            self._linger()
        else:
            self.close_now()

    # Closing

    def refuse(self, problem: Problem) -> None:
        """Reject a request that can't be read, after the pending responses, and close."""
        self._last_response = self._encode(problem, self._on_refusal(problem))
        if self.reading is BODY:
            if self.newest.response_started:
                self._last_response = b""
            self.drop_newest()
        self.reading = ENDED
        if not self.is_in_flight:
            self._end()

    def refuse_slow_head(self) -> None:
        """Reject a request whose head is not complete in time."""
        self.refuse(describe_slow_head(self._limits.head))

    def shutdown(self) -> None:
        """Close after the pending responses, and the request that may be on its way; called by the server."""
        if not self.is_in_flight:
            if wait := self._wait_for_request():
                self.loop.call_later(wait, self.shutdown)
            else:
                self.close_now()
        elif self.running is None:
            self.reading = ENDED
        else:
            self.newest.keep_alive = False

    def _wait_for_request(self) -> float:
        """Return for how many seconds a connection without a pending response is to be left open at the shutdown."""
        if self.transport.is_closing() or self.reading is ENDED or self.reading is LINGERING:
            return 0.0
        if self.reading is HEAD or has_unread(self.transport):
            return LOOK_SECONDS
        return max(0.0, self._watchdog.active + REQUEST_SECONDS - monotonic())

    def close_now(self) -> None:
        """Close the transport; it writes buffered data for a limited time."""
        if not self.transport.is_closing():
            self.transport.close()
            self._watchdog.watch_unsent()

    def _encode(self, problem: Problem, header: tuple[bytes, bytes]) -> bytes:
        body = problem.encode()
        fields = [field for field in self.server_state.default_headers if field[0] != b"connection"]
        fields += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
        fields += [*SAFE_FIELDS, header, (b"connection", b"close")]
        return STATUS_LINE[problem.status] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n" + body

    def _end(self) -> None:
        if self._last_response:
            self.transport.write(self._last_response)
            self._linger()
        else:
            self.close_now()

    def _linger(self) -> None:
        """Close the sending half and discard received data, since closing both would reset the connection."""
        self.reading = LINGERING
        self.running = None
        self.drop_queued()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._watchdog.watch_lingering()
