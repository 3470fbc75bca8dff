"""Tables on a socket: answered while they arrive, in bounded memory, and never half an answer that looks whole."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import CUSTOMER
from socket_service import Running, read, read_answers, request, serving
from table_requests import CSV, read_csv, to_csv
from waiting import DEADLINE, wait_until

from service.observe.process_metrics import read_resident_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GONE = 'churn_requests_total{method="POST",route="/predict",status="499"}'
REJECT = "POST /predict?on_error=reject HTTP/1.1"
HEADER, LINE = to_csv([CUSTOMER]).splitlines(keepends=True)
BLOCK = LINE * 14_000
"""A little more than is scored at once."""


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models) as service:
        yield service


def begin(service: Running, line: str = REJECT, headers: str = "") -> socket.socket:
    connection = service.connect()
    head = f"{line}\r\nHost: x\r\nContent-Type: {CSV}\r\n{headers}"
    connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    send(connection, HEADER)
    return connection


def send(connection: socket.socket, part: bytes) -> None:
    connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))


def read_until_closed(connection: socket.socket) -> bytes:
    data = b""
    try:
        while part := connection.recv(1 << 20):
            data += part
    except ConnectionResetError:
        pass
    return data


def post(
    service: Running, body: Any, query: str = "", read: Callable[[http.client.HTTPResponse], Any] = lambda a: a.read()
) -> tuple[int, Any]:
    """Send everything, then read, as most clients do."""
    host, port = service.address[:2]
    connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
    try:
        connection.request("POST", f"/predict{query}", body, {"Content-Type": CSV})
        answer = connection.getresponse()
        return answer.status, read(answer)
    finally:
        connection.close()


def held(service: Running) -> tuple[int, int]:
    return service.app.processor._pending, service.app.predict._bulk._budget.memory


def test_with_rejects_the_answer_begins_early_only_when_no_more_can_be_held(bank_models: Path) -> None:
    with serving(bank_models, max_held_bytes=1000, max_spilled_bytes=2000) as service, begin(service) as connection:
        send(connection, BLOCK)
        data = b""
        while b"\n10," not in data:
            data += connection.recv(1 << 16)
        assert data.startswith(b"HTTP/1.1 200")
        assert b"\r\n0\r\n\r\n" not in data
        send(connection, LINE)
        connection.sendall(b"0\r\n\r\n")
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += connection.recv(1 << 16)
    assert b"\n14001,0.538278,true,1,\n" in data


@pytest.mark.parametrize("line", [REJECT, "POST /predict HTTP/1.1"])
@pytest.mark.parametrize("held_bytes", [1000, 2**26])
def test_nothing_is_sent_before_the_table_ends(bank_models: Path, line: str, held_bytes: int) -> None:
    with serving(bank_models, max_held_bytes=held_bytes) as service:
        for last, status in ((LINE, b"200"), (b"x\n", b"200" if line == REJECT else b"422")):
            with begin(service, line) as connection:
                for _ in range(3):
                    send(connection, BLOCK)
                wait_until(lambda: held(service)[1] or service.app.predict._bulk._budget.files)
                connection.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(DEADLINE)
                send(connection, last)
                connection.sendall(b"0\r\n\r\n")
                [(found, headers, body)] = read_answers(connection, 1)
                assert found == int(status)
                if status == b"200":
                    assert len(body) == int(headers["content-length"])
                    assert len(read_csv(body)) == 42_001
        wait_until(lambda: held(service) == (0, 0))
        assert not service.app.predict._bulk._budget.files


def test_a_disk_that_is_full_is_done_without(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.tables.spool.tempfile.TemporaryFile", refuse)
    with serving(bank_models, max_held_bytes=1000) as service:
        assert post(service, HEADER + BLOCK)[0] == 413
        status, body = post(service, HEADER + BLOCK, "?on_error=reject")
        assert (status, len(read_csv(body))) == (200, 14_000)
        wait_until(lambda: held(service) == (0, 0))


def test_a_table_in_one_write_of_few_bytes_does_not_take_the_fast_path(service: Running) -> None:
    [(status, headers, body)] = service.send(request(HEADER + LINE, f"Content-Type: {CSV}\r\nX-Request-ID: me\r\n"))
    assert (status, headers["x-request-id"]) == (200, "me")
    assert body == b"row,probability,churn,model_version\n1,0.538278,true,1\n"


def test_a_long_table_takes_little_memory(bank_models: Path) -> None:
    draw = np.random.default_rng(1)
    lines = [LINE.replace(b"101348.88", b"%.2f" % salary) for salary in draw.uniform(0, 1e5, 1000)]
    peaks: list[tuple[int, int]] = []

    def parts(thousands: int) -> Iterator[bytes]:
        yield HEADER
        for _ in range(thousands):
            peaks.append(held(running))
            yield b"".join(lines)

    with serving(bank_models, max_held_bytes=2_000_000) as running:
        for query in ("", "?on_error=reject"):
            post(running, parts(60), query)  # what the first takes, stays
        before = read_resident_memory()
        status, size = post(running, parts(500), read=lambda answer: len(answer.read()))
        # The table has 23 MB, its raw matrix 40 MB, its answer 12 MB.
        assert (status, size > 1e7) == (200, True)
        assert read_resident_memory() - before < 30 * 2**20
        assert max(pending for pending, _ in peaks) <= 5 * 2**20
        assert 20_000 < max(kept for _, kept in peaks) <= 2_000_000
        wait_until(lambda: held(running) == (0, 0))  # which is let go of just behind the answer's last byte


def test_health_and_single_customers_are_answered_while_a_table_is_scored(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = service.app.model_state.model.scorer
    infer, is_scoring, go = scorer.infer, threading.Event(), threading.Event()

    def wait(matrix: Any) -> Any:
        if len(matrix) > 1:
            is_scoring.set()
            assert go.wait(DEADLINE)
        return infer(matrix)

    monkeypatch.setattr(scorer, "infer", wait)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(post(service, HEADER + BLOCK)))
    thread.start()
    assert is_scoring.wait(DEADLINE)
    assert service.send(b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n")[0][0] == 200
    assert service.send(request(json.dumps(CUSTOMER).encode()))[0][0] == 200
    go.set()
    thread.join(DEADLINE)
    assert found[0][0] == 200


def test_a_failure_in_mid_stream_cuts_the_connection(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = 'churn_requests_total{method="POST",route="/predict",status="500"}'
    with serving(bank_models, max_held_bytes=1000, max_spilled_bytes=0) as service:
        scorer = service.app.model_state.model.scorer
        infer, calls = scorer.infer, []

        def fail(matrix: Any) -> Any:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("secret")
            return infer(matrix)

        monkeypatch.setattr(scorer, "infer", fail)
        with begin(service) as connection:
            send(connection, BLOCK)
            send(connection, BLOCK)
            data = read_until_closed(connection)
        assert data.startswith(b"HTTP/1.1 200")
        assert not data.endswith(b"0\r\n\r\n")
        assert b"secret" not in data
        assert read(service, name) == 1
        wait_until(lambda: held(service) == (0, 0))


@pytest.mark.parametrize("query", ["", "?on_error=reject"])
def test_a_failure_before_the_table_ends_is_a_500(
    service: Running, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = service.app.model_state.model.scorer
    infer, calls = scorer.infer, []

    def fail(matrix: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("secret")
        return infer(matrix)

    monkeypatch.setattr(scorer, "infer", fail)
    status, body = post(service, HEADER + 2 * BLOCK, query)
    assert (status, json.loads(body)["type"]) == (500, "urn:churn:internal-error")


@pytest.mark.parametrize("line", [REJECT, "POST /predict HTTP/1.1"])
def test_a_client_that_leaves_is_counted_and_forgotten(service: Running, line: str) -> None:
    before = read(service, GONE)
    with begin(service, line) as connection:
        for _ in range(3):
            send(connection, BLOCK)
    wait_until(lambda: read(service, GONE) == before + 1)
    wait_until(lambda: held(service) == (0, 0))
    assert read(service, "churn_requests_in_flight") == 0


def test_a_client_that_leaves_while_it_is_answered_is_noticed(service: Running) -> None:
    before = read(service, GONE)
    service.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with service.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request(HEADER + 6 * BLOCK, f"Content-Type: {CSV}\r\n"))
        assert connection.recv(12) == b"HTTP/1.1 200"
    wait_until(lambda: read(service, GONE) == before + 1)
    wait_until(lambda: held(service) == (0, 0))


def test_a_client_that_takes_nothing_is_cut_off(bank_models: Path) -> None:
    stop = threading.Event()
    with serving(bank_models, max_held_bytes=1000, max_spilled_bytes=0, send_seconds=0.3) as service:
        service.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection = begin(service)

        def push() -> None:
            try:
                while not stop.is_set():
                    send(connection, BLOCK)
            except OSError:
                stop.set()

        thread = threading.Thread(target=push)
        thread.start()
        name = 'churn_requests_total{method="POST",route="/predict",status="408"}'
        wait_until(lambda: read(service, name) == 1)
        stop.set()
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        thread.join(DEADLINE)
        wait_until(lambda: held(service) == (0, 0))


def test_the_first_hundred_faults_end_a_table_early(service: Running) -> None:
    with begin(service, "POST /predict HTTP/1.1") as connection:
        send(connection, b"1,2\n" * 200_000)
        assert connection.recv(12) == b"HTTP/1.1 422"


def test_http_1_0_gets_a_length(service: Running) -> None:
    head = f"Content-Type: {CSV}\r\n"
    [(status, headers, body)] = service.send(
        request(HEADER + LINE + b"1,2\n", head, "POST /predict?on_error=reject HTTP/1.0")
    )
    assert (status, int(headers["content-length"])) == (200, len(body))
    assert "transfer-encoding" not in headers
    assert len(read_csv(body)) == 2


def test_a_line_is_logged_when_an_answer_ends(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    monkeypatch.setattr("service.observe.access_log.os.write", lambda _, data: writes.append(bytes(data)))
    with serving(bank_models, access_log=True, log_format="json") as service:
        post(service, HEADER + LINE, "?on_error=reject")
        with begin(service) as connection:
            send(connection, BLOCK)
        wait_until(lambda: read(service, GONE) == 1)
    statuses = re.findall(r'"route": "/predict", "status": (\d+)', b"".join(writes).decode())
    assert statuses == ["200", "499"]
