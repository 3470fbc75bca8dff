"""Time limits of requests, on every way to a score: what is late, or for nobody, is not scored."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from running import read_metrics, start
from socket_service import JSON, Running, read, read_answers, request, serving
from table_requests import CSV, to_csv
from waiting import wait_until

from service.errors import RequestProblem
from service.guard.deadline import ENVOY_TIMEOUT, TIMEOUT, ClientLeftError, Deadline, read_timeout
from service.wire.ticket import TICKET, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

BODY = json.dumps(CUSTOMER).encode()
LARGE = json.dumps({"customers": [CUSTOMER] * 2000}).encode()
TENSORS = json.dumps({"inputs": []}).encode()
LATE = "X-Request-Timeout: 0.000000001\r\n"

WAYS = {
    "fast": ("POST /predict HTTP/1.1", JSON, BODY),
    "application": ("POST /predict?extra=ignore HTTP/1.1", JSON, BODY),
    "thread": ("POST /predict HTTP/1.1", JSON, LARGE),
    "table": ("POST /predict HTTP/1.1", f"Content-Type: {CSV}\r\n", to_csv([CUSTOMER])),
    "V2": ("POST /v2/models/churn/infer HTTP/1.1", JSON, TENSORS),
}


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models) as service:
        yield service


def send(service: Running, way: str, extra: str) -> tuple[int, dict[str, str], bytes]:
    line, headers, body = WAYS[way]
    [answer] = service.send(request(body, headers + extra, line))
    return answer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("header", [LATE, "X-Envoy-Expected-Rq-Timeout-Ms: 0.000001\r\n"])
def test_a_request_whose_time_is_over_is_not_scored(service: Running, way: str, header: str) -> None:
    before = read(service, "churn_batch_size_count"), read(service, REJECTED)
    status, _, body = send(service, way, header)
    assert status == 504
    assert b"could not be scored within" in body
    after = read(service, "churn_batch_size_count"), read(service, REJECTED)
    assert (after[0] - before[0], after[1] - before[1]) == (0, 1)


REJECTED = 'churn_rejected_requests_total{reason="deadline-exceeded"}'


@pytest.mark.parametrize("way", ["fast", "application", "thread", "table"])
@pytest.mark.parametrize("sent", ["60", "3600.5"])
def test_a_request_in_time_is_scored(service: Running, way: str, sent: str) -> None:
    assert send(service, way, f"X-Request-Timeout: {sent}000\r\n")[0] == 200


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sent", ["0", "-1", "soon", "1e3", "", "inf", "0.0"])
def test_an_invalid_time_limit_is_rejected(service: Running, way: str, sent: str) -> None:
    with service.connect() as connection:
        line, headers, body = WAYS[way]
        whole = request(body, f"{headers}X-Request-Timeout: {sent}\r\n".encode().decode("latin-1"), line)
        connection.sendall(whole)
        [(status, _, answer)] = read_answers(connection, 1)
    assert status == 400
    assert b"a number of seconds above 0" in answer


def test_others_on_the_same_connection_are_scored(service: Running) -> None:
    sent = request(BODY, JSON + LATE) + request(BODY) + request(BODY, JSON + "X-Request-Timeout: 60\r\n")
    assert [status for status, _, _ in service.send(sent, until=3)] == [504, 200, 200]


def test_the_shorter_header_is_not_chosen_but_the_clients_own() -> None:
    assert read_timeout({TIMEOUT: b"2", ENVOY_TIMEOUT: b"1"}) == 2
    assert read_timeout({ENVOY_TIMEOUT: b"250"}) == 0.25
    for ignored in (b"0", b"x", b"-1", b""):
        assert read_timeout({ENVOY_TIMEOUT: ignored}) is None
    assert read_timeout({}) is None


class Client:
    """A connection in a state."""

    def __init__(self, *, has_left: bool = False, has_sent_all: bool = False) -> None:
        self.has_left = has_left
        self.has_sent_all = has_sent_all
        self.has_due = False

    def watch(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def make(client: Client, arrived: float = 0.0, timeout: bytes | None = None) -> Deadline:
    headers = [(TIMEOUT, timeout)] if timeout is not None else []
    return Deadline({"headers": headers, TICKET: Ticket(client, arrived, None)})


def test_who_has_left_is_not_served() -> None:
    make(Client()).check(has_waited=True)
    make(Client(has_sent_all=True)).check()
    for client, has_waited in ((Client(has_left=True), False), (Client(has_sent_all=True), True)):
        with pytest.raises(ClientLeftError):
            make(client).check(has_waited=has_waited)


def test_the_time_starts_when_the_request_was_read() -> None:
    with pytest.raises(RequestProblem) as found:
        make(Client(), arrived=-1e9, timeout=b"100").check()
    assert found.value.status == 504
    assert make(Client(), arrived=-1e9, timeout=b"100").remaining == 0


class Blocked:
    """The scoring thread of a service, which does nothing until it is released."""

    def __init__(self, app: Any) -> None:
        self._release = threading.Event()
        self._begun = threading.Event()
        self.done = app.processor._pool.submit(self._wait)
        wait_until(self._begun.is_set)

    def _wait(self) -> None:
        self._begun.set()
        self._release.wait()

    def release(self) -> None:
        self._release.set()
        self.done.result()


def test_a_body_that_waits_for_the_thread_is_answered_when_its_time_is_over(bank_models: Path) -> None:
    with start(bank_models, request_timeout=0.05) as client:
        blocked = Blocked(client.app)
        try:
            answer = client.post("/predict", content=LARGE, headers={"Content-Type": "application/json"})
        finally:
            blocked.release()
        assert answer.status_code == 504
        assert "CHURN_REQUEST_TIMEOUT" in answer.json()["detail"]
        assert read_metrics(client)["churn_batch_size_count"] == 0
        assert scored_later(client) == 200


def scored_later(client: TestClient) -> int:
    return client.post("/predict", json=CUSTOMER).status_code


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_client_that_leaves_while_it_waits_for_the_thread_is_not_scored(
    bank_models: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.guard.request_body.NOTICEABLE_WAIT", 0.0)
    with serving(bank_models) as service:
        blocked = Blocked(service.app)
        connection = service.connect()
        connection.sendall(request(LARGE))
        wait_until(lambda: service.app.processor._pool._work_queue.qsize() == 1)
        connections: Any = service.server.server_state.connections
        [open_connection] = connections
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        wait_until(lambda: open_connection.has_left or open_connection.has_sent_all)
        blocked.release()
        wait_until(lambda: read(service, LEFT) == 1)
        assert read(service, "churn_batch_size_count") == 0
        assert read(service, OK) == 0
        wait_until(lambda: not service.server.server_state.connections)


LEFT = 'churn_requests_total{method="POST",route="/predict",status="499"}'
OK = 'churn_requests_total{method="POST",route="/predict",status="200"}'
