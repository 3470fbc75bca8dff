"""Refusals in the stream of a connection: each request gets one answer, in order, whatever is refused and however it is
cut."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState
from wires import Transport, echo

from service.predict.fast_connection import FastConnection
from service.wire.admission import Admission
from service.wire.backlog import Backlog
from service.wire.reading import Limits
from service.wire.refusals import KnownHeads, Refusals, Traffic
from service.wire.ticket import TICKET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.errors import Problem

START = b"POST /predict "


class EchoPath:
    """Answers on the fast path with what was understood."""

    max_body = 1000
    gate = None

    def __init__(self) -> None:
        self.pending: list[tuple[Any, bytes, bool]] = []

    def answer(self, connection: Any, _fields: Any, body: bytes, _caller: Any, *, keep_alive: bool) -> None:
        self.pending.append((connection, body, keep_alive))

    def refuse(self, connection: Any, _fields: Any, problem: Problem, *, keep_alive: bool) -> None:
        self.flush()
        self._send(connection, problem.status, problem.encode(), keep_alive=keep_alive)

    def flush(self) -> None:
        pending, self.pending = self.pending, []
        for connection, body, keep_alive in pending:
            answer = json.dumps(["POST", "/predict", body.decode("latin-1")]).encode()
            self._send(connection, 200, answer, keep_alive=keep_alive)

    def _send(self, connection: Any, status: int, body: bytes, *, keep_alive: bool) -> None:
        connection.finish_fast(
            b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body), keep_alive=keep_alive
        )


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo, or refuse as the application does."""
    refusal = scope[TICKET].refusal
    if refusal is None:
        await echo(scope, receive, send)
    else:
        await refusal.respond()(scope, receive, send)


class FastWire:
    """A connection with the fast path, whose requests wait when they are told to."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.path = EchoPath()
        self.backlog = Backlog(Admission(60.0))
        self.must_wait = False
        self.backlog.is_busy = lambda loop: self.must_wait  # type: ignore[method-assign]  # noqa: ARG005
        self.refused: list[tuple[str, list[float]]] = []
        self.left: list[float] = []
        refusals = Refusals(60.0, START, lambda *refused: self.refused.append(refused))
        self.heads = refusals.heads
        config = uvicorn.Config(app, ws="none", log_config=None, timeout_keep_alive=75)
        traffic = Traffic(self.backlog, refusals, self.left.append)
        path: Any = self.path
        self.connection = FastConnection(
            path, traffic, Limits(), lambda _: (b"x-request-id", b"1"), config, ServerState(), {}
        )
        self.connection.connection_made(self.transport)

    async def feed(self, data: bytes, fate: str) -> None:
        """Receive data: "now", or after waiting "scored" or "refused"."""
        self.must_wait = fate != "now"
        if not self.transport.is_closed:
            self.connection.data_received(data)
        if self.connection.waiting_since:
            waited = self.backlog.forget(self.connection)
            if fate == "refused":
                self.connection.refuse_waiting(waited)
            else:
                self.connection.resume(waited)
        self.path.flush()
        for _ in range(30):
            await asyncio.sleep(0)
            self.path.flush()

    def lose(self) -> None:
        if self.connection.parser is not None:
            self.connection.connection_lost(None)


def answers_of(written: bytes) -> list[tuple[int, Any]]:
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert len(rest) >= size
        found.append((int(head.split()[1]), json.loads(rest[:size])))
        written = rest[size:]
    return found


def post(body: bytes, extra: bytes = b"") -> bytes:
    return START + b"HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (extra, len(body), body)


def chunked(body: bytes) -> bytes:
    head = START + b"HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


SAMPLES = [b"", b"{}", b"{ }", b'{"a": 1}', b"\r\n\r\n", b"POST /predict HTTP/1.1\r\n\r\n", b"x" * 50]
REQUESTS = st.one_of(
    st.sampled_from(SAMPLES).map(lambda body: (post(body), ["POST", "/predict", body.decode()])),
    st.sampled_from(SAMPLES).map(lambda body: (post(body, b"A: b\r\n"), ["POST", "/predict", body.decode()])),
    st.sampled_from(SAMPLES).map(lambda body: (chunked(body), ["POST", "/predict", body.decode()])),
    st.just((b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n", ["GET", "/model", ""])),
    st.just((b"\r\n" + post(b"{}"), ["POST", "/predict", "{}"])),
)
FATES = st.sampled_from(["now", "scored", "refused"])


def play(parts: Sequence[tuple[bytes, str]]) -> tuple[list[tuple[int, Any]], FastWire]:
    async def run() -> FastWire:
        wire = FastWire()
        for data, fate in parts:
            await wire.feed(data, fate)
        wire.lose()
        await asyncio.sleep(0)
        return wire

    wire = asyncio.run(run())
    return answers_of(wire.transport.written), wire


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_beginning_of_a_head_is_not_a_whole_request(size: int) -> None:
    request = post(b"{}")
    answers, _ = play([(request[:size], "refused"), (request[size:], "now")])
    assert answers == [(200, ["POST", "/predict", "{}"])]


@given(st.lists(REQUESTS, min_size=1, max_size=8), st.data())
def test_each_request_gets_one_answer_in_order(requests: list[tuple[bytes, list[str]]], data: st.DataObject) -> None:
    whole = b"".join(sent for sent, _ in requests)
    ends = [len(b"".join(sent for sent, _ in requests[: n + 1])) for n in range(len(requests))]
    anywhere = st.integers(0, len(whole))
    cuts = sorted({0, len(whole), *data.draw(st.lists(st.one_of(st.sampled_from(ends), anywhere), max_size=10))})
    parts = [(whole[a:b], data.draw(FATES)) for a, b in pairwise(cuts)]
    answers, _ = play(parts)
    # A refused request with more body to come ends the connection (RFC 9112, 9.6); what follows has no answer.
    assert answers
    for (status, answer), (_, understood) in zip(answers, requests, strict=False):
        assert (status, answer) == (200, understood) or (status, answer["type"]) == (503, "urn:churn:overloaded")
    if len(answers) < len(requests):
        assert answers[-1][0] == 503
    if all(fate != "refused" for _, fate in parts):
        assert [status for status, _ in answers] == [200] * len(requests)


def test_a_request_with_a_known_head_is_refused_unparsed() -> None:
    one, other = post(b'{"a": 1}'), post(b'{"b": 2}')
    answers, wire = play([(one, "refused"), (one, "scored"), (other, "refused"), (one, "scored"), (one, "now")])
    assert [status for status, _ in answers] == [503, 200, 503, 200, 200]
    ((kind, waits),) = wire.refused
    assert (kind, len(waits)) == ("overloaded", 2)
    assert wire.heads.count_whole(other) == 1


def test_requests_that_wait_on_a_connection_are_refused_in_one_write() -> None:
    one, other = post(b'{"a": 1}'), post(b"{}", b"A: b\r\n")
    answers, wire = play([(one, "scored"), (other, "scored"), (one + other + one, "refused"), (one, "now")])
    assert [status for status, _ in answers] == [200, 200, 503, 503, 503, 200]
    ((_, waits),) = wire.refused
    assert len(waits) == 3
    assert wire.connection.server_state.total_requests == 6


def test_the_waits_of_refused_requests_are_told_again_when_they_were_taken() -> None:
    told: list[list[float]] = []
    refusals = Refusals(1.0, START, lambda _, waits: told.append(waits))
    refusals.count(0.5, 1)
    refusals.count(0.25, 2)
    assert told == [[0.5, 0.25, 0.25]]
    told[0].clear()
    refusals.count(0.125, 1)
    assert told[1:] == [[0.125]]


def test_reading_goes_on_when_much_that_waited_is_refused() -> None:
    async def run() -> FastWire:
        wire = FastWire()
        await wire.feed(post(b"{}"), "scored")
        wire.must_wait = True
        wire.connection.data_received(post(b"{}"))
        states = []
        while not wire.transport.is_paused:
            wire.connection.data_received(post(b"{}") * 10)
        wire.connection.refuse_waiting(wire.backlog.forget(wire.connection))
        states.append((wire.transport.is_paused, wire.connection.held))
        assert states == [(False, b"")]
        wire.lose()
        return wire

    statuses = [status for status, _ in answers_of(asyncio.run(run()).transport.written)]
    assert statuses[0] == 200
    assert set(statuses[1:]) == {503}
    assert len(statuses) % 10 == 2


@pytest.mark.parametrize(
    "data",
    [
        post(b"{}")[:-1],
        post(b"{}") + post(b"{}")[:-1],
        post(b"{}") + b"\r\n" + post(b"{}"),
        post(b"{}") + b" ",
        post(b"{}", b"A: b\r\n"),
        b"\r\n\r\n{}",
        b"",
    ],
)
def test_only_whole_requests_count_as_known(data: bytes) -> None:
    heads = KnownHeads(START)
    sent = post(b"{}")
    heads.learn(sent, 2)
    assert [heads.count_whole(sent * number) for number in (1, 2, 5)] == [1, 2, 5]
    assert heads.count_whole(data) == 0


def test_heads_are_learnt_only_if_the_parser_saw_the_body_behind_the_first_empty_line() -> None:
    heads = KnownHeads(START)
    for data, body_bytes in ((b"\r\n\r\n" + post(b"{}"), 2), (post(b"\r\n\r\n"), 2), (b"GET / HTTP/1.1\r\n\r\n", 0)):
        heads.learn(data, body_bytes)
        assert heads.count_whole(data) == 0


def test_the_number_of_known_heads_is_bounded() -> None:
    heads = KnownHeads(START)
    for number in range(5000):
        heads.learn(post(b"{}", b"X: %d\r\n" % number), 2)
    assert heads.count_whole(post(b"{}", b"X: 4999\r\n")) == 1
    assert len(heads._lengths) <= 512


@pytest.mark.parametrize("how", ["lost", "ended"])
def test_a_client_that_leaves_while_its_request_waits_is_counted_and_not_scored(how: str) -> None:
    async def run() -> FastWire:
        wire = FastWire()
        wire.must_wait = True
        wire.connection.data_received(post(b"{}"))
        assert wire.connection.is_in_flight
        if how == "lost":
            wire.connection.connection_lost(None)
        else:
            assert wire.connection.eof_received()
            assert wire.connection.has_ended
            wire.connection.abandon_waiting(wire.backlog.forget(wire.connection))
            assert wire.transport.is_closed
            wire.connection.connection_lost(None)
        await asyncio.sleep(0)
        return wire

    wire = asyncio.run(run())
    assert len(wire.left) == 1
    assert wire.transport.written == b""
    assert wire.backlog.waiting == 0


@pytest.mark.parametrize("fate", ["scored", "refused"])
def test_a_client_that_sends_no_more_while_its_request_waits_gets_its_answer(fate: str) -> None:
    async def run() -> FastWire:
        wire = FastWire()
        wire.must_wait = True
        wire.connection.data_received(post(b"{}"))
        assert wire.connection.eof_received()
        waited = wire.backlog.forget(wire.connection)
        if fate == "scored":
            wire.connection.resume(waited)
        else:
            wire.connection.refuse_waiting(waited)
        wire.path.flush()
        assert wire.transport.is_closed
        wire.lose()
        return wire

    wire = asyncio.run(run())
    [(status, _)] = answers_of(wire.transport.written)
    assert status == (200 if fate == "scored" else 503)


def test_a_waiting_request_is_answered_at_the_shutdown() -> None:
    async def run() -> bytes:
        wire = FastWire()
        wire.must_wait = True
        wire.connection.data_received(post(b"{}"))
        wire.connection.shutdown()
        wire.path.flush()
        assert wire.transport.is_closed
        wire.lose()
        return wire.transport.written

    [(status, _)] = answers_of(asyncio.run(run()))
    assert status == 200


def test_a_probe_does_not_wait() -> None:
    for sent in (b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"):
        answers, wire = play([(post(b"{}"), "scored"), (sent, "refused")])
        assert [status for status, _ in answers] == [200, 200]
        assert not wire.refused


def test_much_that_waits_stops_the_reading() -> None:
    async def run() -> None:
        wire = FastWire()
        wire.must_wait = True
        wire.connection.data_received(post(b"{}"))
        states = []
        for _ in range(100):
            states.append(wire.transport.is_paused)
            if wire.transport.is_paused:
                break
            wire.connection.data_received(post(b"{}") * 10)
        wire.connection.resume(wire.backlog.forget(wire.connection))
        assert states[-1]
        assert not wire.transport.is_paused
        wire.path.flush()
        wire.lose()

    asyncio.run(run())


def test_no_prepared_refusal_is_written_when_the_connection_must_close() -> None:
    refusals = Refusals(1.0, START, lambda *_: None)
    assert refusals.encode([(b"date", b"x")]).startswith(b"HTTP/1.1 503 ")
    assert refusals.encode([(b"connection", b"close")]) == b""
