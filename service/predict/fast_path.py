"""The fast path: score and answer the most frequent requests without creating an ASGI request.

Requests with one customer that arrive in the same iteration of the event loop are scored in one call of the network. No
request waits for one that has not arrived yet. docs/decisions/fast-path.md has the reasons.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from service.errors import RequestProblem
from service.guard.caller import NOBODY
from service.guard.deadline import ENVOY_TIMEOUT, TIMEOUT, read_timeout
from service.guard.request_body import INLINE_BYTES
from service.guard.scopes import SCOPES
from service.observe.access_log import find_request_id
from service.observe.stages import STAMPS
from service.predict.canary import divert
from service.predict.endpoint import PATH
from service.predict.fast_answers import FastAnswers, Pending
from service.predict.parse import SingleRequest
from service.predict.recording import record_scored
from service.predict.scoring import score_batch, score_single, score_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from service.guard.caller import Caller
    from service.guard.gate import Gate
    from service.keeping.log import DecisionLog
    from service.observe.access_log import AccessLog
    from service.observe.scored import Scored
    from service.predict.endpoint import PredictEndpoint
    from service.predict.scoring import ScoredTogether
    from service.predict.served_model import ServedModel
    from service.wire.connection import Connection

SCOPE = SCOPES[PATH[1:]]
"""What the caller of a request on the fast path must be allowed to do."""

NEVER = float("inf")


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
    log : DecisionLog, optional
        Records what is answered. By default nothing is recorded.
    """

    def __init__(
        self,
        endpoint: PredictEndpoint,
        access: AccessLog | None,
        max_body: int,
        gate: Gate | None = None,
        log: DecisionLog | None = None,
    ) -> None:
        self.gate = gate
        self.max_body = min(max_body, INLINE_BYTES)
        self._endpoint = endpoint
        self._answers = FastAnswers(endpoint, access)
        self._log = log
        self._pending: list[Pending] = []
        self._model: ServedModel | None = None  # of the pending requests
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
                    Pending(
                        connection,
                        request_id,
                        keep_alive,
                        request,
                        received - waited,
                        parsed - waited,
                        ends,
                        name,
                        body,
                    )
                )
                return
            self.flush()  # responses are written in the order of the requests
            received -= waited
            response, scored = score_batch(model, request, body, received, parsed - waited)
        except Exception as error:  # noqa: BLE001  logged by `PredictEndpoint.refuse`
            self.flush()
            refuse = partial(self._answers.refuse, connection, request_id, error, received, name, keep_alive=keep_alive)
            self._after_due(connection, refuse)
            return
        end = partial(self._end, connection, request_id, keep_alive, response, scored, received, name)
        if self._log is None:
            end("")
        else:
            record_scored(self._log, request_id, None if caller is None else name, body, scored)
            self._log.when_kept(end)

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
                found = [scored.probability]
                sent = (first.connection, first.request_id, first.keep_alive)
                end = partial(self._end, *sent, response, scored, first.received, first.caller)
            else:
                responses, together = score_together(model, [one.request for one in pending])
                found = together.probabilities.tolist() if self._log is not None else []
                end = partial(self._end_together, pending, responses, model, together)
        except Exception as error:  # noqa: BLE001
            for one in pending:
                self._refuse_one(one, error)
            return
        if self._log is None:
            end("")
            return
        origin = model.recorder.origin
        add = self._log.add_single
        for one, probability in zip(pending, found, strict=True):
            key = None if self.gate is None else one.caller
            add(one.request_id, key, one.request.identifier, one.body, probability, origin)
        self._log.when_kept(end)

    def _end(
        self,
        connection: Connection,
        request_id: str,
        keep_alive: bool,
        response: bytes,
        scored: Scored,
        received: float,
        caller: str,
        reason: str,
    ) -> None:
        """Answer a request that was scored alone, once it is recorded, or could not be for a reason."""
        if reason:
            error = RequestProblem.not_recorded(reason)
            self._answers.refuse(connection, request_id, error, received, caller, keep_alive=keep_alive)
            return
        scored.record()
        self._answers.accept(connection, request_id, response, received, caller, keep_alive=keep_alive)

    def _end_together(
        self, pending: list[Pending], responses: list[bytes], model: ServedModel, scored: ScoredTogether, reason: str
    ) -> None:
        """Answer requests that were scored together, likewise."""
        if reason:
            for one in pending:
                self._refuse_one(one, RequestProblem.not_recorded(reason))
            return
        stamps = np.empty((len(pending), STAMPS))
        stamps[:] = scored.stamps
        stamps[:, 0] = [one.received for one in pending]
        stamps[:, 1] = [one.parsed for one in pending]
        model.recorder.record_together(scored.raw, scored.probabilities, stamps)
        self._answers.accept_together(pending, responses)

    def _after_due(self, connection: Connection, answer: Callable[[], None]) -> None:
        """Give an answer after those to earlier requests of a connection, which may wait for their records."""
        if self._log is None or connection.fast_due == 1:
            answer()
        else:
            self._log.when_kept(lambda _: answer())

    def _find_end(self, headers: Mapping[bytes, bytes], received: float) -> float:
        """Return when the time of a request with a time limit of its own is over."""
        seconds = read_timeout(headers)
        if seconds is None:
            return NEVER
        if perf_counter() > received + seconds:
            raise RequestProblem.deadline_exceeded(seconds)
        self._has_limits = True
        return received + seconds

    def _drop_expired(self, pending: list[Pending]) -> list[Pending]:
        """Reject the requests whose time is over; return the others."""
        self._has_limits = False
        now = perf_counter()
        for one in pending:
            if one.ends < now:
                error = RequestProblem.deadline_exceeded(one.ends - one.received)
                self._refuse_one(one, error)
        return [one for one in pending if one.ends >= now]

    def refuse(
        self, connection: Connection, headers: Mapping[bytes, bytes], problem: RequestProblem, *, keep_alive: bool
    ) -> None:
        """Reject a request without parsing its body."""
        self.flush()
        received = perf_counter() - connection.waited
        sent = (connection, find_request_id(headers), problem, received, "-")
        self._after_due(connection, partial(self._answers.refuse, *sent, keep_alive=keep_alive))

    def _refuse_one(self, one: Pending, error: Exception) -> None:
        refuse = partial(self._answers.refuse, one.connection, one.request_id, error, one.received, one.caller)
        self._after_due(one.connection, partial(refuse, keep_alive=one.keep_alive))
