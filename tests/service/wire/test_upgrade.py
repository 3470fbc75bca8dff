"""An offer to upgrade the connection is ignored (RFC 9110, 7.8): the request is answered as if it were not there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from hypothesis import given
from hypothesis import strategies as st
from socket_service import serving
from table_requests import to_arrow, to_csv
from wires import Wire, feed, list_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from socket_service import Running

OFFERS = {
    "Java": "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n",
    "WebSocket": "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    "case and spaces": "uPGRADE:TLS/1.0,  foo \r\nCONNECTION:   upGrade  \r\n",
    "several lines": "Connection: keep-alive\r\nUpgrade: a\r\nConnection: x , upgrade\r\nUpgrade: b\r\n",
    "with 100-continue": "Connection: Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n",
    "and close": "Connection: Upgrade, close\r\nUpgrade: h2c\r\n",
    "half of one": "Upgrade: h2c\r\n",
    "the other half": "Connection: upgrade\r\n",
}
KEEPING = [offer for name, offer in OFFERS.items() if name != "and close"]
# A body that would be a request, if it were taken for one.
TRAP = b"POST /trap HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


def with_length(body: bytes) -> tuple[str, bytes]:
    return f"Content-Length: {len(body)}\r\n", body


def in_chunks(body: bytes) -> tuple[str, bytes]:
    half = len(body) // 2
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
    return "Transfer-Encoding: chunked\r\n", chunks + b"0\r\nTrailer: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"


def without_body(_: bytes) -> tuple[str, bytes]:
    return "", b""


FRAMINGS = [with_length, in_chunks, without_body]


def write(offer: str, framing: Any, body: bytes = TRAP, line: str = "POST /a HTTP/1.1", more: str = "") -> bytes:
    head, sent = framing(body)
    return f"{line}\r\nHost: x\r\n{offer}{more}{head}\r\n".encode() + sent


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offer", OFFERS)
def test_a_request_is_understood_wherever_it_is_cut(offer: str, framing: Any) -> None:
    sent = write(OFFERS[offer], framing)
    expected = ["POST", "/a", "" if framing is without_body else TRAP.decode()]

    async def cut_everywhere() -> None:
        for at in range(len(sent) + 1):
            wire = Wire()
            assert list_answers(await wire.feed([sent[:at], sent[at:]])) == [(200, expected)], at
            assert wire.transport.is_closed == (offer == "and close")
            wire.lose()

    asyncio.run(cut_everywhere())


@given(
    st.lists(
        st.tuples(st.sampled_from(["", *KEEPING]), st.sampled_from(FRAMINGS), st.sampled_from([b"", b"x", TRAP])),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_pipelined_requests_are_told_apart(requests: list[tuple[str, Any, bytes]], data: st.DataObject) -> None:
    sent = [write(offer, framing, body, f"POST /{n} HTTP/1.1") for n, (offer, framing, body) in enumerate(requests)]
    whole = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6), "cuts"))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert list_answers(feed(parts)) == [
        (200, ["POST", f"/{n}", "" if framing is without_body else body.decode()])
        for n, (_, framing, body) in enumerate(requests)
    ]


@pytest.mark.parametrize(
    "line", ["GET /a HTTP/1.1", "DELETE /a HTTP/1.1", "M-SEARCH /a?b=%20c HTTP/1.1", "GET /a HTTP/1.0"]
)
def test_every_method_and_version_is_answered(line: str) -> None:
    [(status, [method, path, body])] = list_answers(feed([write(OFFERS["Java"], without_body, line=line)]))
    assert (status, method, path, body) == (200, line.split()[0], "/a", "")


@pytest.mark.parametrize("line", ["CONNECT x:443 HTTP/1.1", "PRI * HTTP/2.0"])
@pytest.mark.parametrize("offer", ["", OFFERS["Java"]])
def test_what_would_leave_http_is_refused_and_nothing_behind_it_is_read(line: str, offer: str) -> None:
    sent = write("", with_length) + write(offer, with_length, line=line) + write("", with_length)
    for parts in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
        (first, refusal) = list_statuses(feed(parts))
        assert first == 200
        assert refusal in {400, 501}


@pytest.mark.parametrize(
    "head",
    [
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ],
)
def test_where_the_end_of_a_body_is_not_known_one_answer_is_the_last(head: str) -> None:
    for offer in ("", OFFERS["Java"]):
        sent = write(offer + head, without_body) + TRAP + write("", with_length)
        for parts in ([sent], [sent[i : i + 1] for i in range(len(sent))]):
            assert list_statuses(feed(parts)) == [400]


def list_statuses(written: bytes) -> list[int]:
    return [status for status, _ in list_answers(written)]


CUSTOMERS = [CUSTOMER | {"CustomerId": str(n), "Age": 20 + n} for n in range(5)]
TENSOR = {"name": "Age", "shape": [1], "datatype": "FP64", "data": [40]}
ROUTES = {
    "/predict, one": ("POST /predict", "application/json", json.dumps(CUSTOMER).encode()),
    "/predict, several": ("POST /predict", "application/json", json.dumps({"customers": CUSTOMERS}).encode()),
    "/predict, wrong": ("POST /predict", "application/json", b"{"),
    "/predict, CSV": ("POST /predict", "text/csv", to_csv(CUSTOMERS)),
    "/predict, Arrow": ("POST /predict", "application/vnd.apache.arrow.stream", to_arrow(CUSTOMERS)),
    "/predict, rejects": ("POST /predict?on_error=reject", "text/csv", to_csv(CUSTOMERS)),
    "/v2": ("POST /v2/models/churn/infer", "application/json", json.dumps({"inputs": [TENSOR]}).encode()),
    "/health/ready": ("GET /health/ready", "text/plain", b""),
    "/model": ("GET /model", "application/json", b"{}"),
    "nowhere": ("POST /nowhere", "application/json", b"{}"),
    "not allowed": ("PUT /predict", "application/json", b"{}"),
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "traced"])
def service(bank_models: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param:
        pytest.importorskip("opentelemetry.instrumentation.asgi")
    with serving(bank_models, tracing=request.param) as service:
        yield service


@pytest.mark.parametrize("framing", [with_length, in_chunks])
@pytest.mark.parametrize("route", ROUTES)
def test_every_route_answers_as_without_the_offer(service: Running, route: str, framing: Any) -> None:
    line, media_type, body = ROUTES[route]
    more = f"Content-Type: {media_type}\r\n"
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    def ask(offer: str, cut: int) -> list[tuple[int, bytes]]:
        sent = write(offer, framing, body, f"{line} HTTP/1.1", more)
        cut = len(sent) - cut
        return [(status, body) for status, _, body in service.send(sent[:cut], sent[cut:] + live, until=2)]

    plain = ask("", 0)
    assert plain[0][0] < 500
    assert plain[1] == (200, b'{"status":"live"}')
    for offer in (OFFERS["Java"], OFFERS["WebSocket"]):
        for cut in (0, 1, len(body) // 2, len(body)):
            answers = ask(offer, cut)
            # A refusal that need not wait for the body ends the connection.
            assert answers == plain or (cut and answers == plain[:1] and plain[0][0] >= 400)
