"""HTTP on one connection: uvicorn's protocol, with a short cut for what makes up nearly all of the load.

A `POST /predict` that arrives whole is parsed, scored and answered without an ASGI request, a task or a second write:
those cost twice what all the rest does. uvicorn's own code answers everything else, and httptools (llhttp, in C)
parses every request. Lone customers whose requests the kernel hands over together are scored together: none waits
for another that is not there yet, and the network is called once for all of them.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import httptools
import numpy as np
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.guard.request_body import INLINE_BYTES
from service.media_types import find_table
from service.observe.access_log import REQUEST_ID, find_request_id
from service.predict.endpoint import JSON, PATH
from service.predict.parse import Lone
from service.predict.scoring import STAMPS, score_batch, score_lone

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from service.observe.access_log import AccessLog
    from service.observe.recorder import Recorder
    from service.predict.endpoint import PredictEndpoint
    from service.state import ServedModel

_URL = PATH.encode()
_OK = STATUS_LINE[200] + b"content-type: " + JSON + b"\r\n"
_INVALID = "Invalid HTTP request received."
_CLOSE = b"connection: close\r\n"


class _Waiting(NamedTuple):
    """A lone customer whose request is whole and read."""

    protocol: ChurnProtocol
    request_id: str
    keep_alive: bool
    request: Lone
    received: float
    parsed: float


class ShortCut:
    """What the connections of a worker share: scores what they hand in, and tells them the answers.

    Parameters
    ----------
    endpoint : PredictEndpoint
        Says what is refused, and how.
    recorder : Recorder
    access : AccessLog or None
    max_body : int
        Largest body that takes the short cut, in bytes.
    """

    def __init__(self, endpoint: PredictEndpoint, recorder: Recorder, access: AccessLog | None, max_body: int) -> None:
        self.endpoint = endpoint
        self.max_body = min(max_body, INLINE_BYTES)
        self.recorder = recorder
        self.access = access
        self._waiting: list[tuple[_Waiting, ServedModel]] = []
        self._default: list[tuple[bytes, bytes]] | None = None
        self._lines = b""
        self._must_close = False

    def answer(self, protocol: ChurnProtocol, headers: Mapping[bytes, bytes], body: bytes, *, keep_alive: bool) -> None:
        """Answer a request, now or, if it is a lone customer, when the loop has read what else has arrived."""
        received = perf_counter()
        request_id = find_request_id(headers)
        try:
            model = self.endpoint.find_model(headers)
            request = model.parser.parse(body)
            parsed = perf_counter()
            if isinstance(request, Lone):
                waiting = _Waiting(protocol, request_id, keep_alive, request, received, parsed)
                if not self._waiting:
                    protocol.loop.call_soon(self._score_waiting)
                self._waiting.append((waiting, model))
                protocol.is_waiting = True
                return
            answer, scored = score_batch(model, request, received, parsed)
        except Exception as error:  # noqa: BLE001  counted, logged and answered there, whatever it is
            self._refuse(protocol, request_id, error, received, keep_alive=keep_alive)
            return
        self.recorder.record_batch(scored)
        self._accept(protocol, request_id, answer, received, keep_alive=keep_alive)

    def _score_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            self._score_one(*waiting[0])
        else:
            self._score_together(waiting)

    def _score_one(self, one: _Waiting, model: ServedModel) -> None:
        one.protocol.is_waiting = False
        try:
            answer, scored = score_lone(model, one.request, one.received, one.parsed)
        except Exception as error:  # noqa: BLE001
            self._refuse(one.protocol, one.request_id, error, one.received, keep_alive=one.keep_alive)
            return
        self.recorder.record_lone(*scored)
        self._accept(one.protocol, one.request_id, answer, one.received, keep_alive=one.keep_alive)

    def _score_together(self, waiting: list[tuple[_Waiting, ServedModel]]) -> None:
        """Score several lone customers at once; each is answered by itself."""
        model = waiting[0][1]
        if any(other is not model for _, other in waiting):  # the model was exchanged meanwhile
            for one, own in waiting:
                self._score_one(one, own)
            return
        requests = [one.request for one, _ in waiting]
        scorer = model.scorer
        started = perf_counter()
        try:
            rows = [request.row for request in requests]
            raw = scorer.stack_rows(rows)
            matrix = scorer.prepare_rows(rows, raw)
            prepared = perf_counter()
            probabilities = scorer.infer(matrix)
            inferred = perf_counter()
            answers = model.answers.encode_lones(requests, probabilities, scorer.decide(probabilities))
        except Exception as error:  # noqa: BLE001
            for one, _ in waiting:
                one.protocol.is_waiting = False
                self._refuse(one.protocol, one.request_id, error, one.received, keep_alive=one.keep_alive)
            return
        stamps = np.empty((len(waiting), STAMPS))
        stamps[:, 0] = [one.received for one, _ in waiting]
        stamps[:, 1] = [one.parsed for one, _ in waiting]
        stamps[:, 2:] = started, prepared, inferred, perf_counter()
        self.recorder.record_together(raw, probabilities, stamps)
        for (one, _), answer in zip(waiting, answers, strict=True):
            one.protocol.is_waiting = False
            self._accept(one.protocol, one.request_id, answer, one.received, keep_alive=one.keep_alive)

    def _accept(
        self, protocol: ChurnProtocol, request_id: str, body: bytes, received: float, *, keep_alive: bool
    ) -> None:
        if self.access is not None:
            self.access.log(request_id, "POST", PATH, 200, perf_counter() - received)
        self._send(protocol, _OK, request_id, body, keep_alive=keep_alive)

    def _refuse(
        self, protocol: ChurnProtocol, request_id: str, error: Exception, received: float, *, keep_alive: bool
    ) -> None:
        seconds = perf_counter() - received
        status, fields, body = self.endpoint.refuse(error, seconds)
        if self.access is not None:
            self.access.log(request_id, "POST", PATH, status, seconds)
        head = STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % field for field in fields)
        self._send(protocol, head, request_id, body, keep_alive=keep_alive)

    def _send(self, protocol: ChurnProtocol, head: bytes, request_id: str, body: bytes, *, keep_alive: bool) -> None:
        default = protocol.server_state.default_headers
        if default is not self._default:  # uvicorn makes a new list each second, for the date
            self._default = default
            self._lines = b"".join(b"%b: %b\r\n" % field for field in default)
            self._must_close = (b"connection", b"close") in default
        close = b"" if keep_alive or self._must_close else _CLOSE
        protocol.finish(
            b"%b%b%b%b: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (head, self._lines, close, REQUEST_ID, request_id.encode(), len(body), body),
            keep_alive=keep_alive and not self._must_close,
        )


class ChurnProtocol(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    short_cut : ShortCut
    config, server_state, app_state, _loop
        As uvicorn's.

    Attributes
    ----------
    is_waiting : bool
        Whether a request that took the short cut is not answered yet.
    """

    def __init__(
        self,
        short_cut: ShortCut,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._short_cut = short_cut
        self._fields: dict[bytes, bytes] | None = None
        """The headers of a request on the short cut whose body is arriving."""
        self._body = b""
        self._keeps_alive = True
        self._active = 0.0
        self._ends = False
        self.is_waiting = False

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        self._active = self.loop.time()
        if self._is_busy():
            super().data_received(data)
            return
        # As uvicorn does it, but for the timer: cancelling and starting one for each request would cost more than
        # letting it find out that the connection was not idle.
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning(_INVALID)
            if self.is_waiting:
                self._ends = True
            else:
                self.send_400_response(_INVALID)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        if self._fields is not None:
            self._leave_short_cut()

    def on_message_begin(self) -> None:
        """Begin a request; what only ASGI needs is made when it is needed."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose the way."""
        if self.url == _URL and self._may_take_short_cut():
            fields = dict(self.headers)
            length = fields.get(b"content-length", b"")
            # Without a length the body comes in chunks; and a large one is worked on in a thread, as a table is.
            if (
                length
                and int(length) <= self._short_cut.max_body
                and b"transfer-encoding" not in fields
                and ((media_type := fields.get(b"content-type", b"")) == JSON or find_table(media_type) is None)
            ):
                self._fields, self._body = fields, b""
                self._keeps_alive = self.parser.should_keep_alive()
                return
        self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._fields is None:
            super().on_body(body)
        else:
            self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        """Answer, if the request came whole."""
        fields = self._fields
        if fields is None:
            super().on_message_complete()
        else:
            self._fields = None
            self._short_cut.answer(self, fields, self._body, keep_alive=self._keeps_alive)

    def finish(self, answer: bytes, *, keep_alive: bool) -> None:
        """Send a whole answer of the short cut."""
        self.server_state.total_requests += 1
        transport = self.transport
        if transport.is_closing():
            return
        transport.write(answer)
        if not keep_alive or self._ends:
            transport.close()
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it was idle for long; else look again when it could have been."""
        idle = self.loop.time() - self._active
        if idle < self.timeout_keep_alive - 0.001:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive - idle, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Close the connection, once what it waits for is answered."""
        if self.is_waiting:
            self._ends = True
        else:
            super().shutdown()

    def _leave_short_cut(self) -> None:
        """Let ASGI wait for the rest of the body, where its size and its time are watched."""
        self._fields = None
        self._begin_cycle()
        if self._body:
            super().on_body(self._body)

    def _begin_cycle(self) -> None:
        """Make an ASGI request of what was read, as uvicorn does when a request begins."""
        self._unset_keepalive_if_required()
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.headers.extend(headers)  # the scope has this list
        self.url, self.expect_100_continue = url, expects
        super().on_headers_complete()

    def _is_busy(self) -> bool:
        """Whether an ASGI request is not answered yet."""
        cycle: Any = self.cycle  # None at first, whatever its type says
        return cycle is not None and not cycle.response_complete

    def _may_take_short_cut(self) -> bool:
        return (
            self.parser.get_method() == b"POST"
            and not self.is_waiting
            and not self._is_busy()
            and not self.pipeline
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )
