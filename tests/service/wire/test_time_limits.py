"""What has begun ends: heads, bodies, idle connections and answers that nobody reads have time limits."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from bundles import CUSTOMER
from socket_service import JSON, Running, read, read_answers, request, serving
from table_requests import ARROW, CSV, to_arrow, to_csv
from waiting import wait_until

from service.tables.endpoint import RESERVED_BYTES
from service.wire.listening import bind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
SINGLE = request(json.dumps(CUSTOMER).encode())
CSV_BODY = to_csv([CUSTOMER] * 50)
OFFER = "Connection: Upgrade\r\nUpgrade: h2c\r\n"
UNENDED = {
    "half a request line": b"POST /pre",
    "half a head": HEAD + b"Content-Ty",
    "a head without its last line feed": request(b"")[:-1],
    "half a head of a route of the application": b"GET /model HTTP/1.1\r\nHost: x\r\n",
    "JSON, half a body": SINGLE[:-5],
    "JSON, no body": SINGLE[: -len(json.dumps(CUSTOMER))],
    "JSON, half a body with an offer": request(json.dumps(CUSTOMER).encode(), JSON + OFFER)[:-5],
    "JSON in chunks": HEAD + JSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{    \r\n",
    "JSON in chunks, no end": HEAD + JSON.encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
    "CSV": request(CSV_BODY, f"Content-Type: {CSV}\r\n")[:-5],
    "CSV with rejects": request(CSV_BODY, f"Content-Type: {CSV}\r\n", "POST /predict?on_error=reject HTTP/1.1")[:-5],
    "CSV in chunks": HEAD + f"Content-Type: {CSV}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"5\r\nAge,A\r\n",
    "Arrow": request(to_arrow([CUSTOMER] * 5), f"Content-Type: {ARROW}\r\n")[:-5],
    "V2": request(b'{"inputs": []}', JSON, "POST /v2/models/churn/infer HTTP/1.1")[:-5],
    "with 100-continue": request(b"{}", JSON + "Expect: 100-continue\r\n")[:-2],
    "behind an answered request": SINGLE + b"POST /pre",
}  # fmt: skip


@pytest.fixture(scope="module")
def hasty(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models, head_seconds=0.3, body_seconds=0.3, send_seconds=0.3) as service:
        service.server.config.timeout_keep_alive = 60
        yield service


@pytest.mark.parametrize("sent", UNENDED.values(), ids=UNENDED.keys())
def test_what_is_not_ended_gets_a_408_and_the_end(hasty: Running, sent: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(sent)
        answers = read_answers(connection, 3)
    status, headers, body = answers[-1]
    assert [status for status, _, _ in answers[:-1]] == [200] * sent.startswith(SINGLE)
    assert (status, headers["connection"]) == (408, "close")
    document = json.loads(body)
    assert "(CHURN_" in document["detail" if headers["content-type"] == "application/problem+json" else "error"]
    wait_until(lambda: read(hasty, "churn_requests_in_flight") == 0)
    assert not hasty.app.processor._pending


@pytest.mark.parametrize("sent", [request(b" " * 300), request(b" " * 300, f"Content-Type: {CSV}\r\n")])
@pytest.mark.parametrize("start", [0, -250])
def test_a_byte_now_and_then_does_not_help(hasty: Running, sent: bytes, start: int) -> None:
    with hasty.connect() as connection:
        connection.settimeout(0.02)
        connection.sendall(sent[:start])
        answer = b""
        for byte in sent[start:] * 20:
            connection.sendall(bytes([byte]))
            try:
                answer = connection.recv(12)
                break
            except TimeoutError:
                continue
    assert answer == b"HTTP/1.1 408"


def test_places_for_tables_come_back(bank_models: Path) -> None:
    with serving(
        bank_models, body_seconds=1, max_body_bytes=RESERVED_BYTES, max_pending_bytes=2 * RESERVED_BYTES
    ) as service:
        table = request(CSV_BODY, f"Content-Type: {CSV}\r\n")
        silent = [service.connect() for _ in range(2)]
        for connection in silent:
            connection.sendall(table[:-1])
        wait_until(lambda: service.app.processor._pending == 2 * RESERVED_BYTES)
        assert service.send(table)[0][0] == 503
        wait_until(lambda: not service.app.processor._pending)
        assert service.send(table)[0][0] == 200
        for connection in silent:
            assert read_answers(connection, 1)[0][0] == 408
            connection.close()


@pytest.mark.parametrize("sent", [b"", SINGLE, b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_an_idle_connection_is_closed(bank_models: Path, sent: bytes) -> None:
    with serving(bank_models) as service:
        service.server.config.timeout_keep_alive = 1
        with service.connect() as connection:
            if sent:
                connection.sendall(sent)
                assert read_answers(connection, 1)[0][0] == 200
            assert connection.recv(1) == b""


@pytest.mark.parametrize("sent", [b"", SINGLE, b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_empty_lines_do_not_keep_a_connection_open(bank_models: Path, sent: bytes) -> None:
    with serving(bank_models) as service:
        service.server.config.timeout_keep_alive = 1
        with service.connect() as connection:
            if sent:
                connection.sendall(sent)
                assert read_answers(connection, 1)[0][0] == 200
            connection.settimeout(0.1)
            answer = None
            for _ in range(200):
                try:
                    connection.sendall(b"\r\n")
                    answer = connection.recv(1)
                    break
                except TimeoutError:
                    continue
                except ConnectionError:
                    answer = b""
                    break
    assert answer == b""


LARGE = json.dumps({"customers": [CUSTOMER] * 1000}).encode()


@pytest.mark.parametrize(
    ("sent", "times"),
    [
        (SINGLE, 50_000),
        (request(LARGE), 100),
        (request(to_csv([CUSTOMER] * 20_000), f"Content-Type: {CSV}\r\n"), 3),
        (request(to_csv([CUSTOMER] * 20_000), f"Content-Type: {CSV}\r\n", "POST /predict?on_error=reject HTTP/1.1"), 3),
        (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 1000),
    ],
    ids=["single", "many", "CSV", "CSV with rejects", "GET"],
)
def test_a_client_that_does_not_read_is_cut_off(hasty: Running, sent: bytes, times: int) -> None:
    hasty.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(hasty.address)

        ends = threading.Event()

        def push() -> None:
            with suppress(OSError):
                for _ in range(times * 1000):
                    connection.sendall(sent)
            ends.set()

        pushing = threading.Thread(target=push)
        pushing.start()
        assert ends.wait(100)
        pushing.join()
    wait_until(lambda: not hasty.server.server_state.connections)
    wait_until(lambda: read(hasty, "churn_requests_in_flight") == 0)
    assert not hasty.app.processor._pending


def test_the_kernel_probes_silent_connections() -> None:
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                if hasattr(socket, "TCP_KEEPIDLE"):
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
