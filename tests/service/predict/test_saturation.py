"""A service whose event loop has more to do than it can: probes are answered, the rest waits, is refused or dropped."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from socket_service import Running, read, read_answers, request, serving
from waiting import wait_until

from service.wire import backlog as backlog_module
from service.wire.backlog import Backlog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

BODY = json.dumps(CUSTOMER).encode()
CLIENTS = 60
REJECTED = 'churn_rejected_requests_total{reason="overloaded"}'
STATUS = 'churn_requests_total{{method="POST",route="/predict",status="{}"}}'
RESET = b"\1\0\0\0\0\0\0\0"
"""Option SO_LINGER: closing resets the connection."""


def look_again(backlog: Any, loop: asyncio.AbstractEventLoop) -> None:
    """End no turn yet."""
    loop.call_later(0.001, lambda: backlog._end_turn(loop))


class Saturated:
    """A service with connections, whose requests wait for as long as they are told to."""

    def __init__(self, service: Running) -> None:
        self.service = service
        self.backlog: Any = service.app.overload._backlog
        self.clients = [service.connect() for _ in range(CLIENTS)]
        wait_until(lambda: len(service.server.server_state.connections) == CLIENTS)
        self._halted: pytest.MonkeyPatch | None = None

    def send(self, sent: bytes) -> None:
        for client in self.clients:
            client.sendall(sent)

    def receive(self) -> list[tuple[int, dict[str, str], bytes]]:
        return [read_answers(client, 1)[0] for client in self.clients]

    def count(self, status: int) -> float:
        return read(self.service, STATUS.format(status))

    def halt(self) -> None:
        """Give no turn any time; only the request that begins a turn does not wait."""
        self._halted = pytest.MonkeyPatch()
        self._halted.setattr(backlog_module, "TURN_SECONDS", -1.0)
        self._halted.setattr(backlog_module, "ROOM", 0)
        self._halted.setattr(Backlog, "_end_turn", look_again)

    def send_and_halt(self, sent: bytes) -> None:
        self.halt()
        self.send(sent)
        wait_until(lambda: self.backlog.waiting == CLIENTS - 1)

    def go_on(self) -> None:
        if self._halted is not None:
            self._halted.undo()
            self._halted = None

    def end(self) -> None:
        self.go_on()
        for client in self.clients:
            client.close()


@pytest.fixture
def saturated(bank_models: Path) -> Iterator[Saturated]:
    with serving(bank_models) as service:
        saturated = Saturated(service)
        try:
            yield saturated
        finally:
            saturated.end()


def test_probes_are_answered_while_everything_else_waits(saturated: Saturated) -> None:
    saturated.send_and_halt(request(BODY))
    for path in ("/health/live", "/health/ready", "/metrics", "/v2/health/live"):
        [(status, _, body)] = saturated.service.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert status == 200
        assert path != "/metrics" or f"churn_requests_waiting {CLIENTS - 1}.0".encode() in body
    assert saturated.backlog.waiting == CLIENTS - 1
    saturated.go_on()
    assert {status for status, _, _ in saturated.receive()} <= {200, 503}
    assert saturated.backlog.waiting == 0


def test_what_waited_too_long_is_refused_and_counted(saturated: Saturated, monkeypatch: pytest.MonkeyPatch) -> None:
    saturated.send_and_halt(request(BODY))
    monkeypatch.setattr(saturated.backlog._admission, "longest_wait", 0.0)
    saturated.go_on()
    answers = saturated.receive()
    refused = [(headers, json.loads(body)) for status, headers, body in answers if status == 503]
    assert len(refused) == CLIENTS - 1
    for headers, problem in refused:
        assert headers["retry-after"] == "1"
        assert problem["type"] == "urn:churn:overloaded"
        assert "CHURN_QUEUE_SECONDS" in problem["detail"]
    assert read(saturated.service, REJECTED) == saturated.count(503) == CLIENTS - 1
    assert read(saturated.service, "churn_score_count") == saturated.count(200) == 1
    monkeypatch.undo()
    saturated.send(request(BODY))  # on the same connections
    assert {status for status, _, _ in saturated.receive()} <= {200, 503}
    assert read(saturated.service, "churn_score_count") > 1


@pytest.mark.parametrize("line", ["POST /predict?extra=ignore HTTP/1.1", "POST /v2/models/churn/infer HTTP/1.1"])
def test_a_request_to_the_application_is_refused_before_its_body_is_whole(
    saturated: Saturated, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    saturated.send_and_halt(request(BODY, line=line)[:-5])
    monkeypatch.setattr(saturated.backlog._admission, "longest_wait", 0.0)
    saturated.go_on()
    for client in saturated.clients:
        client.sendall(b"     ")
    answers = saturated.receive()
    assert sum(status == 503 for status, _, _ in answers) == CLIENTS - 1
    assert read(saturated.service, REJECTED) == CLIENTS - 1


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_who_left_while_many_waited_is_counted_and_not_scored(saturated: Saturated, how: str) -> None:
    saturated.send_and_halt(request(BODY))
    connections: Any = saturated.service.server.server_state.connections
    waiting = [one for one in list(connections) if one.waiting_since]
    assert len(waiting) == CLIENTS - 1
    for client in saturated.clients:
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
    wait_until(lambda: all(one.has_ended or not one.waiting_since for one in waiting))
    saturated.go_on()
    wait_until(lambda: saturated.count(499) == CLIENTS - 1)
    assert read(saturated.service, "churn_score_count") == 1
    assert saturated.count(503) == 0
    wait_until(lambda: not connections)
