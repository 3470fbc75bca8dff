"""HTTP on one connection: uvicorn's protocol, with a short cut for what makes up nearly all of the load.

A `POST /predict` that arrives whole is parsed, scored and answered without an ASGI request, a task or a second write:
those cost twice what all the rest does. uvicorn's own code answers everything else, and httptools (llhttp, in C)
parses every request. Lone customers whose requests the kernel hands over together are scored together: none waits
for another that is not there yet, and the network is called once for all of them.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from service.guard.request_body import INLINE_BYTES
from service.media_types import find_table
from service.observe.access_log import REQUEST_ID, find_request_id
from service.observe.stages import STAMPS
from service.predict.endpoint import JSON, PATH
from service.predict.parse import Lone
from service.predict.scoring import score_batch, score_lone
from service.wire.connection import STATUS_LINE, Connection, Limits, Reading

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from service.errors import Problem
    from service.observe.access_log import AccessLog
    from service.observe.recorder import Recorder
    from service.predict.endpoint import PredictEndpoint
    from service.predict.served_model import ServedModel

_URL = PATH.encode()
_OK = STATUS_LINE[200] + b"content-type: " + JSON + b"\r\n"
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
                    protocol.loop.call_soon(self.score_waiting)
                self._waiting.append((waiting, model))
                return
            self.score_waiting()  # answers go out in the order of the requests
            answer, scored = score_batch(model, request, received, parsed)
        except Exception as error:  # noqa: BLE001  counted, logged and answered there, whatever it is
            self.score_waiting()
            self._refuse(protocol, request_id, error, received, keep_alive=keep_alive)
            return
        self.recorder.record_batch(scored)
        self._accept(protocol, request_id, answer, received, keep_alive=keep_alive)

    def score_waiting(self) -> None:
        """Score the requests that wait, and answer them."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            self._score_one(*waiting[0])
        elif waiting:
            self._score_together(waiting)

    def _score_one(self, one: _Waiting, model: ServedModel) -> None:
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
                self._refuse(one.protocol, one.request_id, error, one.received, keep_alive=one.keep_alive)
            return
        stamps = np.empty((len(waiting), STAMPS))
        stamps[:, 0] = [one.received for one, _ in waiting]
        stamps[:, 1] = [one.parsed for one, _ in waiting]
        stamps[:, 2:] = started, prepared, inferred, perf_counter()
        self.recorder.record_together(raw, probabilities, stamps)
        for (one, _), answer in zip(waiting, answers, strict=True):
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
        protocol.finish_fast(
            b"%b%b%b%b: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (head, self._lines, close, REQUEST_ID, request_id.encode(), len(body), body),
            keep_alive=keep_alive and not self._must_close,
        )


class ChurnProtocol(Connection):
    """One connection.

    Parameters
    ----------
    short_cut : ShortCut
    limits : Limits
    on_refusal : callable
    config, server_state, app_state, _loop
        As `Connection`'s.
    """

    def __init__(
        self,
        short_cut: ShortCut,
        limits: Limits,
        on_refusal: Callable[[Problem], str],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(limits, on_refusal, config, server_state, app_state, _loop)
        self._short_cut = short_cut
        self._fields: dict[bytes, bytes] = {}
        self._body = b""
        self._keeps_alive = True

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        super().data_received(data)
        if self._reading is Reading.FAST_BODY:
            # The application waits for the rest of the body, where its size and its time are watched.
            self.begin_exchange()
            if self._body:
                super().on_body(self._body)

    def take_fast_path(self, fields: dict[bytes, bytes]) -> bool:
        """Take a `POST /predict` with JSON of a small, known length behind no request of the application's."""
        parser = self.parser
        if (
            self.url != _URL
            or self._running is not None
            or self.flow.write_paused
            or parser.get_method() != b"POST"
            or not (length := fields.get(b"content-length"))
            or int(length) > self._short_cut.max_body  # worked on in a thread, as a table is
            or not self._needs_nothing_else(fields)
        ):
            return False
        self._fields, self._body = fields, b""
        self._keeps_alive = parser.should_keep_alive()
        return True

    def _needs_nothing_else(self, fields: dict[bytes, bytes]) -> bool:
        return (
            b"transfer-encoding" not in fields
            and b"expect" not in fields
            and b"content-encoding" not in fields
            and ((media_type := fields.get(b"content-type", b"")) == JSON or find_table(media_type) is None)
            and self.parser.get_http_version() == "1.1"
        )

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._reading is Reading.FAST_BODY:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a request that came whole."""
        if self._reading is Reading.FAST_BODY:
            self._reading = Reading.IDLE
            self._fast_due += 1
            self._short_cut.answer(self, self._fields, self._body, keep_alive=self._keeps_alive)
        else:
            super().on_message_complete()

    def flush_fast_path(self) -> None:
        """Score and answer what waits."""
        self._short_cut.score_waiting()
