"""How connections end: refusals reach clients that still send, answers keep their order, shutdown is told."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from socket_service import JSON, Running, read_answers, request, serving
from table_requests import CSV, to_csv
from waiting import DEADLINE, wait_until
from wires import Wire, feed, list_answers

from service.wire import watchdog
from service.wire.reading import Limits, ReadState

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

BODY = json.dumps(CUSTOMER).encode()
TOO_LARGE = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
LARGE = b" " * (64 * 2**20)


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models) as service:
        yield service


INFER = "POST /v2/models/churn/infer"
REFUSED = {
    "JSON, too large": ("POST /predict", JSON, 413),
    "wrong media type": ("POST /predict", "Content-Type: text/plain\r\n", 415),
    "compressed table": ("POST /predict", f"Content-Type: {CSV}\r\nContent-Encoding: gzip\r\n", 415),
    "wrong parameter": ("POST /predict?on_error=x", f"Content-Type: {CSV}\r\n", 400),
    "no table": ("POST /predict", f"Content-Type: {CSV}\r\n", 400),
    "V2, too large": (INFER, JSON, 413),
    "V2, no such version": ("POST /v2/models/churn/versions/9/infer", JSON, 404),
    "nowhere": ("POST /nowhere", JSON, 404),
    "not allowed": ("PUT /predict", JSON, 405),
    "two hosts": ("POST /predict", "Host: a\r\n", 400),
}


@pytest.mark.parametrize(("line", "headers", "status"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("close", ["", "Connection: close\r\n"])
def test_a_client_that_sends_everything_first_reads_why_it_was_refused(
    service: Running, line: str, headers: str, status: int, version: str, close: str
) -> None:
    head = f"{line} {version}\r\nHost: x\r\n{headers}{close}Content-Length: {len(LARGE)}\r\n\r\n"
    with service.connect() as connection:
        connection.settimeout(DEADLINE)
        connection.sendall(head.encode())
        connection.sendall(LARGE)
        [(found, fields, _)] = read_answers(connection, 2)
    assert (found, fields["connection"]) == (status, "close")


def test_lingering_ends_when_the_client_pauses(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LINGER_PAUSE_SECONDS", 0.3)
    with service.connect() as connection:
        connection.sendall(TOO_LARGE)
        assert read_answers(connection, 1)[0][0] == 413
        wait_until(lambda: not service.server.server_state.connections)


def test_lingering_ends_when_the_client_sends_on_and_on(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LINGER_SECONDS", 0.5)
    monkeypatch.setattr(watchdog, "LINGER_PAUSE_SECONDS", 0.3)
    with service.connect() as connection:
        connection.sendall(TOO_LARGE)
        assert read_answers(connection, 1)[0][0] == 413
        with pytest.raises(OSError, match=r"reset|Broken"):
            send_slowly(connection)
    wait_until(lambda: not service.server.server_state.connections)


def send_slowly(connection: socket.socket) -> None:
    for _ in range(10_000):
        connection.sendall(b" ")
        threading.Event().wait(0.01)


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Answer after some turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)
    while (await receive())["more_body"]:
        pass
    answer = json.dumps(scope["path"]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})


GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "wrong",
    [
        b"NO HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnothing\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 70_000,
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_refusal_comes_behind_the_answers_that_are_due(wrong: bytes, before: int) -> None:
    due = b"".join(GET % n for n in range(before))
    for parts in ([due + wrong + GET % 9], [due, wrong, GET % 9], [due + wrong[:9], wrong[9:], GET % 9]):
        answers = list_answers(feed(parts, slow))
        assert [answer for status, answer in answers if status == 200] == [f"/{n}" for n in range(before)]
        assert [status for status, _ in answers[before:]] in ([400], [414], [431], [501])


def test_a_body_that_can_not_be_read_is_answered_once() -> None:
    async def eager(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"12", "more_body": True})
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.body", "body": b"34"})

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    written = feed([head + b"1\r\na\r\n", b"nothing", GET % 1], eager)
    assert written.count(b"HTTP/1.1") == 1
    assert written.endswith(b"12")
    assert [status for status, _ in list_answers(feed([head + b"1\r\na\r\n", b"nothing", GET % 1], slow))] == [400]


def test_no_idle_timer_fires_while_an_answer_is_due(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(bank_models) as service:
        service.server.config.timeout_keep_alive = 0.2  # type: ignore[assignment]
        infer, go = service.app.processor.run, asyncio.Event()

        async def wait(*arguments: Any) -> Any:
            await go.wait()
            return await infer(*arguments)

        monkeypatch.setattr(service.app.processor, "run", wait)
        with service.connect() as connection:
            connection.sendall(request(BODY) + request(to_csv([CUSTOMER]), f"Content-Type: {CSV}\r\n"))
            assert read_answers(connection, 1)[0][0] == 200
            threading.Event().wait(0.6)
            service.loop.call_soon_threadsafe(go.set)
            assert read_answers(connection, 1)[0][0] == 200


def test_a_client_that_leaves_ends_every_request_of_its_connection() -> None:
    ended: list[str] = []

    async def wait(scope: Any, receive: Any, _: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.append(scope["path"])

    async def run() -> None:
        wire = Wire(wait)
        await wire.feed([GET % 1, GET % 2])
        wire.lose()
        await wire.settle()

    asyncio.run(run())
    assert ended == ["/1"]


@pytest.mark.parametrize(
    "sent",
    [
        request(BODY)[:-1],
        request(to_csv([CUSTOMER]), f"Content-Type: {CSV}\r\n")[:-1],
        request(b"{}", JSON, f"{INFER} HTTP/1.1")[:-1],
    ],
    ids=["JSON", "CSV", "V2"],
)
@pytest.mark.parametrize("ends", [True, False])
def test_shutdown_is_told(bank_models: Path, sent: bytes, ends: bool) -> None:
    service = Running(bank_models, shutdown_seconds=1)
    service.server.config.timeout_graceful_shutdown = 1
    service.server._drain_seconds = 0.3
    with service.connect() as connection:
        connection.sendall(sent)
        connections: set[Any] = service.server.server_state.connections
        wait_until(lambda: any(one.reading is ReadState.BODY for one in connections))
        service.server.handle_exit(15, None)
        if ends:
            wait_until(lambda: (b"connection", b"close") in service.server.server_state.default_headers)
            connection.sendall(sent[-1:] if sent[-1:] == b"\n" else b"}" if b"infer" in sent else request(BODY)[-1:])
        [(status, headers, body)] = read_answers(connection, 2)
    assert headers["connection"] == "close"
    if ends:
        assert status in {200, 400, 422}
    else:
        document = json.loads(body)
        assert status == 503
        assert "CHURN_SHUTDOWN_SECONDS" in document.get("detail", document.get("error"))
        assert headers["retry-after"] == "1"
    service._thread.join(DEADLINE)
    assert not service._thread.is_alive()


def test_a_silent_connection_is_closed() -> None:
    async def run() -> None:
        wire = Wire(slow, Limits(0.1, 0.1))
        wire.connection.timeout_keep_alive = 0.1  # type: ignore[assignment]
        for part in (GET % 1, b"GET /"):
            await wire.feed([part])
        while not (wire.transport.has_ended or wire.transport.is_closed):
            await asyncio.sleep(0.01)
        assert [status for status, _ in list_answers(wire.transport.written)] == [200, 408]
        wire.lose()

    asyncio.run(asyncio.wait_for(run(), DEADLINE))
