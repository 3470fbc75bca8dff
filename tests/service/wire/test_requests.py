"""Rules of HTTP that every route keeps: HEAD, Host, compressed bodies, trailers, half-closed connections."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from socket_service import JSON, Running, read_answers, request, serving
from table_requests import CSV, to_csv
from wires import feed, list_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = json.dumps(CUSTOMER).encode()
SEVERAL = json.dumps({"customers": [CUSTOMER] * 3}).encode()
TENSORS = json.dumps(
    {"inputs": [{"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
                for name, value in CUSTOMER.items()]}
).encode()  # fmt: skip
PREDICT = "POST /predict HTTP/1.1"
INFER = "POST /v2/models/churn/infer HTTP/1.1"


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models, max_body_bytes=100_000, max_pending_bytes=2**23) as service:
        yield service


GETS = ["/health/live", "/health/ready", "/model", "/metrics", "/docs", "/openapi.json", "/v2", "/v2/health/ready",
        "/v2/models/churn", "/v2/models/churn/versions/1", "/nowhere", "/v2/nowhere"]  # fmt: skip


@pytest.mark.parametrize("path", GETS)
def test_head_is_get_without_the_body(service: Running, path: str) -> None:
    [(status, headers, body)] = service.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    live = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with service.connect() as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + live)
        data = b""
        while part := connection.recv(1 << 16):
            data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200")  # the next answer
    lines = [line.lower() for line in head.decode().split("\r\n")]
    assert lines[0].split()[1] == str(status)
    names = {"content-type", "allow"} if path == "/metrics" else {"content-type", "allow", "content-length"}
    assert [line for line in lines if line.split(":")[0] in names] == [
        f"{name}: {value}".lower() for name, value in headers.items() if name in names
    ]
    assert body


@pytest.mark.parametrize(("path", "allowed"), [("/predict", "POST"), ("/v2/models/churn/infer", "POST")])
def test_head_of_what_is_only_posted_is_refused(service: Running, path: str, allowed: str) -> None:
    [(status, headers, _)] = service.send(f"PUT {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, headers["allow"]) == (405, allowed)
    with service.connect() as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 405")


def test_a_get_route_allows_head(service: Running) -> None:
    [(status, headers, _)] = service.send(b"POST /model HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("target", "same"),
    [("http://a.example", "/"), ("http://a.example:80", "/"), ("HTTP://[::1]?a=b", "/?a=b"),
     ("http://a.example/health/live", "/health/live"), ("http://a.example/nowhere", "/nowhere")],
)  # fmt: skip
def test_the_absolute_form_of_a_target_means_its_path(service: Running, target: str, same: str) -> None:
    answers = [service.send(f"GET {each} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) for each in (target, same)]
    [(status, _, body)], [(expected, _, expected_body)] = answers
    assert (status, body) == (expected, expected_body)
    assert status == (404 if "nowhere" in same else 200)


HOSTS = [
    ("HTTP/1.1", "", 400),
    ("HTTP/1.1", "Host: a\r\nHost: a\r\n", 400),
    ("HTTP/1.1", "host: a\r\nX: y\r\nHOST: b\r\n", 400),
    ("HTTP/1.0", "Host: a\r\nHost: b\r\n", 400),
    ("HTTP/1.0", "", 200),
    ("HTTP/1.1", "Host: \r\n", 200),
    ("HTTP/1.1", "HOST: a:80\r\nX: y\r\nX: y\r\n", 200),
]


@pytest.mark.parametrize(("version", "hosts", "status"), HOSTS)
@pytest.mark.parametrize("line", ["POST /predict", "POST /predict?a=b", "GET /health/live", INFER.rpartition(" ")[0]])
def test_the_host_is_named_once(service: Running, version: str, hosts: str, status: int, line: str) -> None:
    body = b"" if line.startswith("GET") else TENSORS if "v2" in line else BODY
    sent = f"{line} {version}\r\n{hosts}{JSON}Content-Length: {len(body)}\r\n\r\n".encode() + body
    answers = service.send(sent + request(BODY), until=2)
    assert [found for found, _, _ in answers] == ([status] if status == 400 or version == "HTTP/1.0" else [200, 200])
    if status == 400:
        assert json.loads(answers[0][2])["type"] == "urn:churn:invalid-host"


def deflate(body: bytes) -> bytes:
    return zlib.compress(body)


@pytest.mark.parametrize(
    ("line", "body"), [("POST /predict HTTP/1.1", BODY), ("POST /predict HTTP/1.1", SEVERAL), (INFER, TENSORS)]
)
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:10]) + gzip.compress(body[10:])),
        ("identity, gzip", gzip.compress),
        ("deflate", deflate),
        ("identity", bytes),
        ("IDENTITY", bytes),
        ("", bytes),
    ],
)
def test_compressed_json_is_read(service: Running, line: str, body: bytes, encoding: str, pack: Any) -> None:
    [(status, _, expected)] = service.send(request(body, line=line))
    assert status == 200
    sent = request(pack(body), f"{JSON}Content-Encoding: {encoding}\r\n", line)
    for parts in ([sent], [sent[:-3], sent[-3:]]):
        assert [(status, answer) for status, _, answer in service.send(*parts)] == [(200, expected)]


@pytest.mark.parametrize("line", ["POST /predict HTTP/1.1", INFER])
@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", BODY, 400),
        ("gzip", b"", 400),
        ("gzip", gzip.compress(BODY)[:-1], 400),
        ("gzip", gzip.compress(BODY) + b"x", 400),
        ("deflate", gzip.compress(BODY), 400),
        ("deflate", deflate(BODY) + b"x", 400),
        ("gzip", gzip.compress(b" " * 100_001), 413),
        ("gzip", gzip.compress(b" " * 60_000) * 2, 413),
        ("deflate", deflate(b" " * 10_000_000), 413),
        ("br", BODY, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(BODY)), 415),
        ("gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(BODY)), 415),
        ("chunked", BODY, 415),
    ],
)
def test_what_can_not_be_decompressed_is_refused(
    service: Running, line: str, encoding: str, body: bytes, status: int
) -> None:
    sent = request(body, f"{JSON}Content-Encoding: {encoding}\r\n", line)
    [(found, headers, _)] = service.send(sent)
    assert found == status
    assert headers.get("accept-encoding") == ("gzip, x-gzip, deflate, identity" if status == 415 else None)


TRAILERS = ["Content-Type: text/csv", "Content-Encoding: gzip", "Expect: 100-continue", "Host: b",
            "Upgrade: h2c\r\nConnection: upgrade",
            "X-Request-ID: other", "Inference-Header-Content-Length: 3"]  # fmt: skip


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize(("line", "body"), [("POST /predict HTTP/1.1", BODY), (INFER, TENSORS)])
def test_a_trailer_changes_nothing(service: Running, line: str, body: bytes, trailer: str) -> None:
    def ask(trailer: str) -> list[tuple[int, bytes, str]]:
        head = f"{line}\r\nHost: x\r\n{JSON}X-Request-ID: me\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        sent = head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailer.encode())
        found = service.send(sent, until=1), service.send(sent[:-30], sent[-30:] + sent, until=2)
        return [(status, answer, headers["x-request-id"]) for answers in found for status, headers, answer in answers]

    plain = ask("")
    assert [status for status, _, _ in plain] == [200] * 3
    assert ask(f"{trailer}\r\n") == plain


@pytest.mark.parametrize(
    ("trailer", "status"), [("Content-Length: 5", 400), ("Transfer-Encoding: gzip", 400), ("Connection: close", 200)]
)
@pytest.mark.parametrize("line", ["POST /predict HTTP/1.1", "GET /model HTTP/1.1"])
def test_behind_a_trailer_about_the_connection_nothing_is_read(
    service: Running, line: str, trailer: str, status: int
) -> None:
    head = f"{line}\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n".encode()
    sent = head + b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, trailer.encode())
    [(found, headers, _)] = service.send(sent + request(BODY), until=2)
    assert (found, headers["connection"]) == (status, "close")


IN_CHUNKS = f"POST /predict HTTP/1.1\r\nHost: x\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n".encode()
HALVES = {
    "single": request(BODY),
    "several": request(SEVERAL),
    "in chunks": IN_CHUNKS + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "CSV": request(to_csv([CUSTOMER] * 100), f"Content-Type: {CSV}\r\n"),
    "long CSV": request(to_csv([CUSTOMER] * 30_000), f"Content-Type: {CSV}\r\n"),
    "rejects": request(to_csv([CUSTOMER] * 9), f"Content-Type: {CSV}\r\n", "POST /predict?on_error=reject HTTP/1.1"),
    "V2": request(TENSORS, JSON, INFER),
    "GET": b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n",
    "refused": request(b"{"),
}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES.keys())
@pytest.mark.parametrize("times", [1, 3])
def test_a_client_that_sends_no_more_gets_its_answers(service: Running, sent: bytes, times: int) -> None:
    with service.connect() as connection:
        connection.sendall(sent * times)
        connection.shutdown(socket.SHUT_WR)
        answers = read_answers(connection, times)
        assert len(answers) == times
        assert len({(status, answer) for status, _, answer in answers}) == 1
        assert connection.recv(1) == b""


def test_half_a_request_is_not_answered(service: Running) -> None:
    for sent in (request(BODY)[:-1], HALVES["CSV"][:-1], HALVES["GET"][:-1]):
        with service.connect() as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""


def test_trailers_are_no_headers_of_the_application() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        answer = json.dumps(len(scope["headers"])).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})

    sent = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n"
    for cut in range(len(sent)):
        assert list_answers(feed([sent[:cut], sent[cut:]], app)) == [(200, 2)]
