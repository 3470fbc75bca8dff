"""The fast path: score and answer the most frequent requests without creating an ASGI request.

Requests with one customer that arrive in the same iteration of the event loop are scored in one call of the network. No
request waits for one that has not arrived yet. docs/decisions/fast-path.md has the reasons.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from service.errors import RequestProblem
from service.guard.caller import NOBODY
from service.guard.deadline import ENVOY_TIMEOUT, TIMEOUT, read_timeout
from service.guard.request_body import INLINE_BYTES
from service.guard.scopes import SCOPES
from service.observe.access_log import REQUEST_ID, find_request_id
from service.observe.stages import STAMPS
from service.predict.canary import divert
from service.predict.endpoint import JSON, PATH
from service.predict.parse import SingleRequest
from service.predict.scoring import score_batch, score_single, score_together
from service.safe_headers import SAFE_LINES
from service.wire.uvicorn_internals import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.guard.caller import Caller
    from service.guard.gate import Gate
    from service.observe.access_log import AccessLog
    from service.predict.endpoint import PredictEndpoint
    from service.predict.served_model import ServedModel
    from service.wire.connection import Connection

_OK = STATUS_LINE[200] + b"content-type: " + JSON + b"\r\n" + SAFE_LINES
_CLOSE = b"connection: close\r\n"

SCOPE = SCOPES[PATH[1:]]
"""What the caller of a request on the fast path must be allowed to do."""

NEVER = float("inf")


class _Pending(NamedTuple):
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


class FastPath:
    """Score requests of all connections of a worker, and write the responses.

    Parameters
    ----------
    endpoint : PredictEndpoint
        Provides the model and the error responses.
    access : AccessLog or None
    max_body : int
        Maximum size in bytes of a body on the fast path; at most `INLINE_BYTES`.
    gate : Gate, optional
        Decides on requests; by default they need no credential.
    """

    def __init__(
        self, endpoint: PredictEndpoint, access: AccessLog | None, max_body: int, gate: Gate | None = None
    ) -> None:
        self.gate = gate
        self.max_body = min(max_body, INLINE_BYTES)
        self._endpoint = endpoint
        self._access = access
        self._pending: list[_Pending] = []
        self._model: ServedModel | None = None  # of the pending requests
        self._default: list[tuple[bytes, bytes]] | None = None
        self._lines = b""
        self._must_close = False
        self._has_limits = False  # whether one of the pending requests has a time limit

    def answer(
        self,
        connection: Connection,
        headers: Mapping[bytes, bytes],
        body: bytes,
        caller: Caller | None = None,
        *,
        keep_alive: bool,
    ) -> None:
        """Handle a request: a batch at once, one customer after the event loop has read all sockets that are ready.

        Parameters
        ----------
        connection : Connection
        headers : mapping of bytes to bytes
        body : bytes
        caller : Caller or None
            Who has sent it; None if nobody need say so.
        keep_alive : bool
        """
        received = perf_counter()
        request_id = find_request_id(headers)
        waited = connection.waited
        name = "-"
        try:
            if self.gate is not None:
                caller = caller or NOBODY
                name = caller.name
                self.gate.allow(caller, SCOPE, connection.client)
            has_limit = TIMEOUT in headers or ENVOY_TIMEOUT in headers
            ends = self._find_end(headers, received - waited) if has_limit else NEVER
            model = self._endpoint.find_model(headers)
            request = model.parser.parse(body)
            parsed = perf_counter()
            if caller is not None:
                caller.charge(1 if isinstance(request, SingleRequest) else len(request.raw))
            if isinstance(request, SingleRequest):
                if model.canary is not None:
                    model, request = divert(model, request, body)
                if model is not self._model:  # another version has been loaded, or the canary scores the customer
                    self.flush()
                    self._model = model
                if not self._pending:
                    connection.loop.call_soon(self.flush)
                # Waiting counts as time in the queue, not as parsing.
                self._pending.append(
                    _Pending(
                        connection, request_id, keep_alive, request, received - waited, parsed - waited, ends, name
                    )
                )
                return
            self.flush()  # responses are written in the order of the requests
            received -= waited
            response, scored = score_batch(model, request, body, received, parsed - waited)
        except Exception as error:  # noqa: BLE001  logged by `PredictEndpoint.refuse`
            self.flush()
            self._refuse(connection, request_id, error, received, name, keep_alive=keep_alive)
            return
        scored.record()
        self._accept(connection, request_id, response, received, name, keep_alive=keep_alive)

    def flush(self) -> None:
        """Score the pending requests and write their responses."""
        pending, model = self._pending, self._model
        if not pending or model is None:
            return
        self._pending = []
        if self._has_limits:
            pending = self._drop_expired(pending)
            if not pending:
                return
        first = pending[0]
        try:
            if len(pending) == 1:
                response, scored = score_single(model, first.request, first.received, first.parsed)
                scored.record()
            else:
                responses = self._score_together(model, pending)
        except Exception as error:  # noqa: BLE001
            for one in pending:
                self._refuse(one.connection, one.request_id, error, one.received, one.caller, keep_alive=one.keep_alive)
            return
        if len(pending) == 1:
            self._accept(
                first.connection, first.request_id, response, first.received, first.caller, keep_alive=first.keep_alive
            )
            return
        self._accept_together(pending, responses)

    def _find_end(self, headers: Mapping[bytes, bytes], received: float) -> float:
        """Return when the time of a request with a time limit of its own is over."""
        seconds = read_timeout(headers)
        if seconds is None:
            return NEVER
        if perf_counter() > received + seconds:
            raise RequestProblem.deadline_exceeded(seconds)
        self._has_limits = True
        return received + seconds

    def _drop_expired(self, pending: list[_Pending]) -> list[_Pending]:
        """Reject the requests whose time is over; return the others."""
        self._has_limits = False
        now = perf_counter()
        for one in pending:
            if one.ends < now:
                error = RequestProblem.deadline_exceeded(one.ends - one.received)
                self._refuse(one.connection, one.request_id, error, one.received, one.caller, keep_alive=one.keep_alive)
        return [one for one in pending if one.ends >= now]

    def refuse(
        self, connection: Connection, headers: Mapping[bytes, bytes], problem: RequestProblem, *, keep_alive: bool
    ) -> None:
        """Reject a request without parsing its body."""
        self.flush()
        received = perf_counter() - connection.waited
        self._refuse(connection, find_request_id(headers), problem, received, "-", keep_alive=keep_alive)

    def _score_together(self, model: ServedModel, pending: list[_Pending]) -> list[bytes]:
        responses, scored = score_together(model, [one.request for one in pending])
        stamps = np.empty((len(pending), STAMPS))
        stamps[:] = scored.stamps
        stamps[:, 0] = [one.received for one in pending]
        stamps[:, 1] = [one.parsed for one in pending]
        model.recorder.record_together(scored.raw, scored.probabilities, stamps)
        return responses

    def _accept_together(self, pending: list[_Pending], responses: list[bytes]) -> None:
        """Write responses as `_accept` does, with what they have in common made once."""
        self._follow(pending[0].connection.server_state.default_headers)
        head = b"%b%b%b: " % (_OK, self._lines, REQUEST_ID)
        log = None if self._access is None else self._access.log
        for (connection, request_id, keep_alive, _, received, _, _, name), body in zip(pending, responses, strict=True):
            if not keep_alive or self._must_close:
                self._accept(connection, request_id, body, received, name, keep_alive=False)
                continue
            if log is not None:
                log(request_id, "POST", PATH, 200, perf_counter() - received, name)
            connection.finish_fast(
                b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (head, request_id.encode(), len(body), body), keep_alive=True
            )

    def _accept(
        self, connection: Connection, request_id: str, body: bytes, received: float, caller: str, *, keep_alive: bool
    ) -> None:
        if self._access is not None:
            self._access.log(request_id, "POST", PATH, 200, perf_counter() - received, caller)
        self._send(connection, _OK, request_id, body, keep_alive=keep_alive)

    def _refuse(
        self,
        connection: Connection,
        request_id: str,
        error: Exception,
        received: float,
        caller: str,
        *,
        keep_alive: bool,
    ) -> None:
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
