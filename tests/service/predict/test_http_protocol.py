"""The fast path against the ASGI application: the same answers, whatever is sent and how."""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import CUSTOMER, ODD_CUSTOMER
from running import read_metrics, start
from socket_service import JSON, Running, read, read_answers, request, serving
from waiting import DEADLINE, wait_until

from service.predict.fast_connection import FastConnection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models) as service:
        yield service


def count_cycles(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the requests that leave the fast path."""
    seen: list[int] = []
    begin = FastConnection.begin_exchange

    def watch(self: FastConnection) -> None:
        seen.append(1)
        begin(self)

    monkeypatch.setattr(FastConnection, "begin_exchange", watch)
    return seen


BODIES = [
    json.dumps(CUSTOMER),
    json.dumps(CUSTOMER | {"CustomerId": "ä\n1", "Age": 200}),
    json.dumps(CUSTOMER | {"Age": 101}),
    json.dumps({"customers": [CUSTOMER | {"Age": age} for age in (20, 50, 95)]}),
    json.dumps({"customers": []}),
    json.dumps(CUSTOMER | {"Age": None, "Geography": "Mars"}),
    json.dumps(ODD_CUSTOMER),
    "{",
    "",
    "[1]",
    "\xff",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "text/plain", ""])
def test_both_ways_give_the_same_answer(
    service: Running, client: TestClient, body: str, media_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = count_cycles(monkeypatch)
    sent = body.encode("latin-1")
    [(status, headers, answer)] = service.send(request(sent, f"Content-Type: {media_type}\r\n" if media_type else ""))
    assert not left
    slow = client.post("/predict", content=sent, headers={"content-type": media_type} if media_type else {})
    assert (status, answer) == (slow.status_code, slow.content)
    assert {**headers, "x-request-id": ""} == {**slow.headers, "x-request-id": ""}


def test_customers_that_arrive_together_get_what_each_would_alone(service: Running, client: TestClient) -> None:
    draw = np.random.default_rng(5)
    ages = draw.integers(18, 92, 60).tolist()
    bodies = [json.dumps(CUSTOMER | {"Age": age, "CustomerId": n}) for n, age in enumerate(ages)]
    sizes: list[int] = []
    scorer = service.app.model_state.model.scorer
    infer, infer_row = scorer.infer, scorer.infer_row

    def watch(matrix: Any) -> Any:
        sizes.append(len(matrix))
        return infer(matrix)

    def watch_row(matrix: Any) -> Any:
        sizes.append(1)
        return infer_row(matrix)

    scorer.infer, scorer.infer_row = watch, watch_row
    try:
        connections = [service.connect() for _ in bodies]
        for connection, body in zip(connections, bodies, strict=True):
            connection.sendall(request(body.encode()))
        answers = [read_answers(connection, 1)[0] for connection in connections]
        for connection in connections:
            connection.close()
    finally:
        del scorer.infer, scorer.infer_row
    assert sum(sizes) == len(bodies)
    for body, (status, _, answer) in zip(bodies, answers, strict=True):
        alone = client.post("/predict", content=body, headers={"content-type": "application/json"})
        assert (status, json.loads(answer)) == (200, alone.json())


def test_they_are_scored_together(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, sizes = service.app.model_state.model.scorer, []
    infer = scorer.infer
    monkeypatch.setattr(scorer, "infer", lambda matrix: (sizes.append(len(matrix)), infer(matrix))[1])
    connections = [service.connect() for _ in range(8)]
    blocked, go = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        go.wait(DEADLINE)

    service.loop.call_soon_threadsafe(block)
    blocked.wait(DEADLINE)
    for connection in connections:
        connection.sendall(request(json.dumps(CUSTOMER).encode()))
    threading.Event().wait(0.05)
    go.set()
    answers = [read_answers(connection, 1)[0] for connection in connections]
    for connection in connections:
        connection.close()
    assert {status for status, _, _ in answers} == {200}
    assert max(sizes, default=1) > 1


@pytest.mark.parametrize(
    ("parts", "leaves"),
    [
        ((request(json.dumps(CUSTOMER).encode()),), False),
        ((request(json.dumps(CUSTOMER).encode())[:-20], request(json.dumps(CUSTOMER).encode())[-20:]), True),
        ((request(json.dumps(CUSTOMER).encode())[:30], request(json.dumps(CUSTOMER).encode())[30:]), False),
        ((request(json.dumps(CUSTOMER).encode(), line="POST /predict?a=b HTTP/1.1"),), True),
        ((request(json.dumps(CUSTOMER).encode(), line="POST /predict HTTP/1.0"),), True),
        ((request(json.dumps(CUSTOMER).encode(), JSON + "Expect: 100-continue\r\n"),), True),
        ((b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
          + b"%x\r\n%b\r\n0\r\n\r\n" % (len(json.dumps(CUSTOMER)), json.dumps(CUSTOMER).encode()),), True),
    ],
)  # fmt: skip
def test_requests_that_come_in_rarer_ways_are_answered_alike(
    service: Running, client: TestClient, parts: tuple[bytes, ...], leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = count_cycles(monkeypatch)
    [(status, _, answer)] = service.send(*parts)
    assert (status, answer) == (200, client.post("/predict", json=CUSTOMER).content)
    assert bool(left) == leaves


def test_a_body_over_the_limit_is_refused(bank_models: Path) -> None:
    with serving(bank_models, max_body_bytes=1000) as service:
        [(status, _, _)] = service.send(request(json.dumps({"customers": [CUSTOMER] * 20}).encode()))
        assert status == 413
        assert service.send(request(json.dumps(CUSTOMER).encode()))[0][0] == 200


def test_pipelined_requests_are_answered_in_their_order(service: Running) -> None:
    ages = [20, 50, 80, 35, 60]
    bodies = [json.dumps(CUSTOMER | {"Age": age, "CustomerId": age}).encode() for age in ages]
    mixed = b"".join(map(request, bodies[:2])) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    mixed += b"".join(map(request, bodies[2:]))
    answers = service.send(mixed, until=6)
    assert [json.loads(answer).get("CustomerId", "live") for _, _, answer in answers] == [20, 50, "live", 80, 35, 60]
    assert [status for status, _, _ in answers] == [200] * 6


def test_the_connection_stays_or_closes_as_the_client_asks(service: Running) -> None:
    body = json.dumps(CUSTOMER).encode()
    with service.connect() as connection:
        for _ in range(3):
            connection.sendall(request(body))
            [(status, headers, _)] = read_answers(connection, 1)
            assert status == 200
            assert "connection" not in headers
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answers(connection, 1)[0][0] == 200
        connection.sendall(request(body, JSON + "Connection: close\r\n"))
        [(status, headers, _)] = read_answers(connection, 1)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(bank_models: Path) -> None:
    with serving(bank_models) as service:
        service.server.config.timeout_keep_alive = 2
        body = json.dumps(CUSTOMER).encode()
        with service.connect() as connection:
            for _ in range(4):
                connection.sendall(request(body))
                assert read_answers(connection, 1)[0][0] == 200
                threading.Event().wait(0.6)
            assert connection.recv(1) == b""


@pytest.mark.parametrize("junk", [b"NO HTTP\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_what_is_not_http_gets_a_400_and_the_end(service: Running, junk: bytes) -> None:
    [(status, headers, _)] = service.send(junk)
    assert (status, headers["connection"]) == (400, "close")
    answers = service.send(request(json.dumps(CUSTOMER).encode()) + junk, until=2)
    assert [status for status, _, _ in answers] == [200, 400]


def test_a_client_that_leaves_harms_nobody(service: Running) -> None:
    before = read(service, 'churn_requests_total{method="POST",route="/predict",status="499"}')
    with service.connect() as connection:
        connection.sendall(request(json.dumps(CUSTOMER).encode())[:-5])
        threading.Event().wait(0.05)
    for _ in range(5):
        with service.connect() as connection:
            connection.sendall(request(json.dumps(CUSTOMER).encode()))
    assert service.send(request(json.dumps(CUSTOMER).encode()))[0][0] == 200
    wait_until(lambda: read(service, 'churn_requests_total{method="POST",route="/predict",status="499"}') == before + 1)


def test_a_failure_nobody_foresaw_is_a_500_for_those_it_hit(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = service.app.model_state.model.scorer

    def fail(_: object) -> None:
        raise RuntimeError("secret")

    for body in (CUSTOMER, {"customers": [CUSTOMER] * 2}):
        with monkeypatch.context() as patch:
            patch.setattr(scorer, "infer", fail)
            patch.setattr(scorer, "infer_row", fail)
            [(status, headers, answer)] = service.send(request(json.dumps(body).encode()))
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert b"secret" not in answer
    assert service.send(request(json.dumps(CUSTOMER).encode()))[0][0] == 200


def test_the_request_is_named_in_the_answer(service: Running, client: TestClient) -> None:
    body = json.dumps(CUSTOMER).encode()
    trace = "0af7651916cd43dd8448eb211c80319c"
    for headers, expected in (
        ({"X-Request-ID": "a.b/1"}, "a.b/1"),
        ({"traceparent": f"00-{trace}-b7ad6b7169203331-01"}, trace),
        ({"X-Request-ID": "x", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}, "x"),
    ):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        assert service.send(request(body, JSON + lines))[0][1]["x-request-id"] == expected
        for path in ("/health/live", "/nowhere"):
            assert client.get(path, headers=headers).headers["x-request-id"] == expected
        assert client.post("/predict", json=CUSTOMER, headers=headers).headers["x-request-id"] == expected
    made = {
        service.send(request(body, JSON + f"X-Request-ID: {sent}\r\n"))[0][1]["x-request-id"]
        for sent in ('"', "a b", "x" * 129, "\\")
    }
    assert len(made) == 4
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", name) for name in made)


def test_draining_tells_clients_to_leave_and_answers_them(bank_models: Path) -> None:
    service = Running(bank_models)
    service.server._drain_seconds = 1.5
    with service.connect() as connection:
        connection.sendall(request(json.dumps(CUSTOMER).encode()))
        assert "connection" not in read_answers(connection, 1)[0][1]
        service.server.handle_exit(15, None)
        wait_until(lambda: (b"connection", b"close") in service.server.server_state.default_headers)
        connection.sendall(request(json.dumps(CUSTOMER).encode()))
        [(status, headers, _)] = read_answers(connection, 1)
        assert (status, headers["connection"]) == (200, "close")
        with suppress(ConnectionError):
            assert connection.recv(1) == b""
    service._thread.join(DEADLINE)
    assert not service._thread.is_alive()


def test_both_ways_are_counted_alike(bank_models: Path) -> None:
    bodies = [CUSTOMER, CUSTOMER | {"Age": 99}, {"customers": [CUSTOMER] * 7}, {}]
    with serving(bank_models) as service, start(bank_models) as client:
        for body in bodies:
            service.send(request(json.dumps(body).encode()))
            client.post("/predict", json=body)
        slow = read_metrics(client)
        for name, value in slow.items():
            if not re.search(r"duration_seconds|memory|cpu|health", name):
                assert read(service, name) == value, name
