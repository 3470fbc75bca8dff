"""Write the responses of the fast path."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from service.observe.access_log import REQUEST_ID
from service.predict.endpoint import JSON, PATH
from service.safe_headers import SAFE_LINES
from service.wire.uvicorn_internals import STATUS_LINE

if TYPE_CHECKING:
    from service.observe.access_log import AccessLog
    from service.predict.endpoint import PredictEndpoint
    from service.predict.parse import SingleRequest
    from service.wire.connection import Connection

_OK = STATUS_LINE[200] + b"content-type: " + JSON + b"\r\n" + SAFE_LINES
_CLOSE = b"connection: close\r\n"


class Pending(NamedTuple):
    """A parsed request with one customer that has not been scored yet."""

    connection: Connection
    request_id: str
    keep_alive: bool
    request: SingleRequest
    received: float
    parsed: float
    ends: float
    """When the request's time is over."""

    caller: str
    """Who has sent it, for the access log."""

    body: bytes
    """The customer as it was sent."""


class FastAnswers:
    """Write responses to the connections of a worker, and log them.

    Parameters
    ----------
    endpoint : PredictEndpoint
        Provides the error responses.
    access : AccessLog or None
    """

    def __init__(self, endpoint: PredictEndpoint, access: AccessLog | None) -> None:
        self._endpoint = endpoint
        self._access = access
        self._default: list[tuple[bytes, bytes]] | None = None
        self._lines = b""
        self._must_close = False

    def accept_together(self, pending: list[Pending], responses: list[bytes]) -> None:
        """Write responses as `accept` does, with what they have in common made once."""
        self._follow(pending[0].connection.server_state.default_headers)
        head = b"%b%b%b: " % (_OK, self._lines, REQUEST_ID)
        log = None if self._access is None else self._access.log
        for (connection, request_id, keep_alive, _, received, _, _, name, _), body in zip(
            pending, responses, strict=True
        ):
            if not keep_alive or self._must_close:
                self.accept(connection, request_id, body, received, name, keep_alive=False)
                continue
            if log is not None:
                log(request_id, "POST", PATH, 200, perf_counter() - received, name)
            connection.finish_fast(
                b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, request_id.encode(), len(body), body), keep_alive=True
            )

    def accept(
        self, connection: Connection, request_id: str, body: bytes, received: float, caller: str, *, keep_alive: bool
    ) -> None:
        """Write the response to a request that was scored."""
        if self._access is not None:
            self._access.log(request_id, "POST", PATH, 200, perf_counter() - received, caller)
        self._send(connection, _OK, request_id, body, keep_alive=keep_alive)

    def refuse(
        self,
        connection: Connection,
        request_id: str,
        error: Exception,
        received: float,
        caller: str,
        *,
        keep_alive: bool,
    ) -> None:
        """Write the response to a request that failed."""
        seconds = perf_counter() - received
        status, fields, body = self._endpoint.refuse(error, seconds)
        if self._access is not None:
            self._access.log(request_id, "POST", PATH, status, seconds, caller)
        head = STATUS_LINE[status] + SAFE_LINES + b"".join(b"%b: %b\r\n" % field for field in fields)
        self._send(connection, head, request_id, body, keep_alive=keep_alive)

    def _send(self, connection: Connection, head: bytes, request_id: str, body: bytes, *, keep_alive: bool) -> None:
        self._follow(connection.server_state.default_headers)
        close = b"" if keep_alive or self._must_close else _CLOSE
        connection.finish_fast(
            b"%b%b%b%b: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (head, self._lines, close, REQUEST_ID, request_id.encode(), len(body), body),
            keep_alive=keep_alive and not self._must_close,
        )

    def _follow(self, default: list[tuple[bytes, bytes]]) -> None:
        """Encode the server's headers, unless they are the same as before."""
        if default is not self._default:  # uvicorn creates a new list every second because of the Date header
            self._default = default
            self._lines = b"".join(b"%b: %b\r\n" % field for field in default)
            self._must_close = (b"connection", b"close") in default
