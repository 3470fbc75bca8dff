"""Every route, on both ways through the service: refused without a key unless it is named here as open."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from keyed import add_key, remove_key
from running import start
from service_process import ServiceProcess, running_service
from waiting import DEADLINE, wait_until

from service.app import create_app
from service.guard.request_body import RequestProcessor
from service.predict import fast_path
from service.predict.fast_parse import FastParser
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

OPEN = {
    "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json",
    "/docs-static/swagger-ui.css", "/", "/console/1/1",
}  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")
SCOPE_OF = {
    **dict.fromkeys(("predict", "counterfactuals", "sensitivity", "model", "v2"), "predict"),
    "metrics": "metrics",
    "performance": "metrics",
    "admin": "admin",
}
BODY = json.dumps(CUSTOMER).encode()


def list_paths(routes: list[Any]) -> Iterator[str]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from list_paths(inner.routes)
        elif route.path == "/docs-static":
            yield "/docs-static/swagger-ui.css"
        else:
            yield re.sub(r"{.*?}", "1", route.path)


PATHS = sorted({*list_paths(create_app(Settings(admin=True)).routes)})
TRICKS = (
    "/nowhere", "/predict/", "//predict", "/./predict", "/%70redict", "/predict%2f", "/PREDICT", "/predict;a",
    "/docs/../admin/models", "/health/live/../../admin/models", "/health/live/", "/health//live", "/admin%2Fmodels",
    "//admin/models", "/health/live%2f..%2fadmin", "/docs-static/../metrics", "/v2/health/live/x", "/records",
    "/docs-static/../../../../etc/passwd", "/metrics/", "/predict?x=1",
)  # fmt: skip
"""None of these is open; a client may normalize some of them before it sends them."""

ODD_TARGETS = (
    "*",
    "http://churn/predict",
    "/\xe9",
    "/docs-static/%2e%2e",
    "/docs-static/..%5cmetrics",
    "/console/../metrics",
    "/console/x/..%2f..%2fmetrics",
    "/console/%2e%2e/admin/models",
)
"""Below an open folder nothing else is found; some are refused before they are routed."""


class Keyed:
    """A service with keys, and connections to it without any help from a library."""

    def __init__(self, service: ServiceProcess, path: Path, keys: dict[str, str]) -> None:
        self.service = service
        self.path = path
        self.keys = keys

    @contextlib.contextmanager
    def connect(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=DEADLINE) as connection:
            yield connection

    def ask(
        self, method: str, path: str, key: str | None = None, body: bytes = b"", *more: str
    ) -> tuple[int, str, bytes]:
        """Return status, head in lower case and body of a response."""
        with self.connect() as connection:
            connection.sendall(make(method, path, key, body, "Connection: close", *more))
            return split(read_all(connection))


def make(method: str, path: str, key: str | None = None, body: bytes = b"", *more: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: churn",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"X-API-Key: {key}"] if key is not None else []
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1") + body


def read_all(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            found += data
    return found


def split(response: bytes) -> tuple[int, str, bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1").lower(), body


@pytest.fixture(scope="module")
def keyed(bank_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    path = folder / "keys.json"
    keys = {scope: add_key(path, scope, [scope]) for scope in ("predict", "metrics", "admin", "records")}
    keys["limited"] = add_key(path, "limited", ["predict"], requests_per_second=5)
    keys["batches"] = add_key(path, "batches", ["predict"], customers_per_second=0.001)
    keys["crm"] = add_key(path, "crm", ["predict"])
    service = ServiceProcess(bank_models, folder, 2, {"CHURN_API_KEYS": str(path), "CHURN_ADMIN": "true"})
    found = Keyed(service, path, keys)
    try:
        service.wait_for_log("serving model")
        wait_until(lambda: count_ready(found) == 2, "every worker's readiness")
        yield found
    finally:
        service.kill()


def count_ready(keyed: Keyed) -> int:
    with contextlib.suppress(OSError, IndexError):
        _, _, body = keyed.ask("GET", "/metrics", keyed.keys["metrics"])
        match = re.search(rb"^churn_ready_workers (\d+)", body, re.MULTILINE)
        return int(match[1]) if match else 0
    return 0


@pytest.fixture(scope="module")
def client(bank_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    for scope in ("predict", "metrics", "admin"):
        KEYS[scope] = add_key(path, scope, [scope])
    with start(bank_models, api_keys=path, admin=True) as client:
        yield client


KEYS: dict[str, str] = {}


def test_the_routes_are_found() -> None:
    assert {"/predict", "/metrics", "/model", "/model/shadow", "/admin/models/1/promote", "/v2/models/churn/infer"} <= {
        *PATHS
    }
    assert {*PATHS} > OPEN


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", [*PATHS, *TRICKS])
def test_the_application_refuses_every_route_without_a_key(client: TestClient, path: str, method: str) -> None:
    response = client.request(method, f"http://testserver{path}", content=BODY)
    if response.request.url.path in OPEN:
        assert response.status_code not in (401, 403), path
    else:
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"].startswith("Bearer")
        expected = "application/json" if f"{path}/".startswith("/v2/") else "application/problem+json"
        assert response.headers["content-type"] == expected


@pytest.mark.parametrize("path", PATHS)
def test_each_route_needs_its_scope(client: TestClient, path: str) -> None:
    needed = SCOPE_OF.get(path.split("/")[1])
    for scope, key in KEYS.items():
        response = client.get(path, headers={"X-API-Key": key})
        assert (response.status_code == 403) == (path not in OPEN and needed not in (None, scope)), (path, scope)


@pytest.mark.parametrize("path", [*PATHS, *TRICKS])
def test_the_server_refuses_every_route_without_a_key(keyed: Keyed, path: str) -> None:
    for method in ("GET", "POST", "HEAD", "OPTIONS", "DELETE"):
        status, head, body = keyed.ask(method, path, body=BODY if method == "POST" else b"")
        assert path in OPEN or status == 401, (method, path)
        assert path in OPEN or b'"probability"' not in body
        assert b"HELP" not in body
        assert "x-content-type-options: nosniff" in head
        caching = "no-cache" if path == "/" and method in {"GET", "HEAD"} else "no-store"  # the page has no data
        assert f"cache-control: {caching}" in head


@pytest.mark.parametrize("target", ODD_TARGETS)
def test_an_odd_target_leads_nowhere_without_a_key(keyed: Keyed, target: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        status, _, body = keyed.ask(method, target, body=BODY if method == "POST" else b"")
        assert status in (400, 401, 404, 405), (method, target)
        assert b"probability" not in body
        assert b"HELP" not in body


@pytest.mark.parametrize("path", ["/predict", "/predict?extra=ignore"], ids=["fast", "application"])
def test_both_ways_decide_alike(keyed: Keyed, path: str) -> None:
    keys = keyed.keys
    wrong = keys["predict"][:-2] + "xx"
    for sent, status in (
        ([], 401),
        ([f"X-API-Key: {keys['predict']}"], 200),
        ([f"Authorization: Bearer {keys['predict']}"], 200),
        ([f"authorization: bearer {keys['predict']}"], 200),
        ([f"X-API-Key: {wrong}"], 401),
        ([f"Authorization: Bearer {wrong}"], 401),
        ([f"Authorization: {keys['predict']}"], 401),
        ([f"X-API-Key: Bearer {keys['predict']}"], 401),
        ([f"X-API-Key: {keys['metrics']}"], 403),
        ([f"X-API-Key: {keys['predict']}", f"X-API-Key: {keys['predict']}"], 401),
        ([f"X-API-Key: {keys['predict']}", f"Authorization: Bearer {keys['predict']}"], 401),
        ([f"X-API-Key: {wrong}", f"X-API-Key: {keys['predict']}"], 401),
        (["X-API-Key: "], 401),
    ):
        for _ in range(3):  # in both workers, and after it is known
            found, _, body = keyed.ask("POST", path, None, BODY, *sent)
            assert found == status, sent
            assert (b"probability" in body) == (status == 200)


@pytest.mark.parametrize("path", [b"/predict", b"/predict?extra=ignore"], ids=["fast", "application"])
def test_each_request_of_a_connection_is_decided_on(keyed: Keyed, path: bytes) -> None:
    good, wrong, other = keyed.keys["predict"], "churn_zzzzzzzz_" + "z" * 43, keyed.keys["metrics"]
    order = [None, wrong, None, good, None, good, wrong, good, other, good, None, wrong, None, None]
    expected = [200 if key == good else 403 if key == other else 401 for key in order]
    one_by_one: list[int] = []
    with keyed.connect() as connection, connection.makefile("rb") as answers:
        for key in order:
            connection.sendall(make("POST", path.decode(), key, BODY))
            one_by_one.append(read_answer(answers))
    assert one_by_one == expected
    with keyed.connect() as connection:  # pipelined
        last = len(order) - 1
        for number, key in enumerate(order):
            close = ["Connection: close"] if number == last else []
            connection.sendall(make("POST", path.decode(), key, BODY, *close))
        statuses = [int(found) for found in re.findall(rb"HTTP/1.1 (\d+)", read_all(connection))]
    # An error response to a request whose body has not arrived closes the connection.
    assert statuses == expected[: len(statuses)]


def read_answer(answers: Any) -> int:
    status = int(answers.readline().split()[1])
    length = 0
    while (line := answers.readline().strip()) != b"":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    answers.read(length)
    return status


def test_all_that_is_pipelined_is_decided_on_in_one_read(keyed: Keyed) -> None:
    good = keyed.keys["predict"]
    order = [good, None, good, None, None, good]
    with keyed.connect() as connection:
        connection.sendall(b"".join(make("POST", "/predict", key, BODY) for key in order))
        with connection.makefile("rb") as answers:
            assert [read_answer(answers) for _ in order] == [200, 401, 200, 401, 401, 200]


@pytest.mark.parametrize("more", ["Content-Type: text/csv", "Transfer-Encoding: chunked", "Expect: 100-continue"])
def test_a_body_is_not_waited_for_without_a_key(keyed: Keyed, more: str) -> None:
    lines = ["POST /predict HTTP/1.1", "Host: churn", more]
    lines += [] if more.startswith("Transfer") else ["Content-Length: 1000000"]
    with keyed.connect() as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())  # and no body
        status, head, _ = split(connection.recv(65536))
    assert status == 401
    assert "connection: close" in head


def test_a_body_is_neither_parsed_nor_scored_without_a_key(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[str] = []
    for name in ("parse", "parse_leniently"):
        monkeypatch.setattr(FastParser, name, lambda *_, name=name: touched.append(name))
    monkeypatch.setattr(fast_path, "score_single", lambda *_: touched.append("score"))
    monkeypatch.setattr(RequestProcessor, "process", lambda *_, **__: touched.append("process"))
    for path in ("/predict", "/predict?texts=parse", "/v2/models/churn/infer"):
        for kind in ("application/json", "text/csv", "application/vnd.apache.arrow.stream", "text/plain"):
            response = client.post(path, content=b"{" * 1000, headers={"Content-Type": kind})
            assert response.status_code == 401
    assert touched == []


def test_a_request_of_the_fast_path_is_not_parsed_without_a_key(keyed: Keyed) -> None:
    for key, status in ((None, 401), (keyed.keys["metrics"], 403), (keyed.keys["predict"], 400)):
        with keyed.connect() as connection, connection.makefile("rb") as answers:
            for _ in range(2):  # the second one is known
                connection.sendall(make("POST", "/predict", key, b"{not json"))
                assert read_answer(answers) == status


def test_a_rate_limit_holds_for_both_workers_and_both_ways(keyed: Keyed) -> None:
    key = keyed.keys["limited"]
    started = time.monotonic()
    statuses: list[int] = []
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(keyed.connect()) for _ in range(8)]
        files = [stack.enter_context(connection.makefile("rb")) for connection in connections]
        for number in range(100_000):
            if number >= 50 and 429 in statuses:
                break
            path = "/predict" if number % 2 else "/predict?extra=ignore"
            connections[number % 8].sendall(make("POST", path, key, BODY))
            statuses.append(read_answer(files[number % 8]))
    elapsed = time.monotonic() - started
    assert {*statuses} == {200, 429}
    assert 5 <= statuses.count(200) <= 1.1 * (5 + 5 * elapsed)
    status, head, _ = keyed.ask("POST", "/predict", key, BODY)
    while status == 200:
        status, head, _ = keyed.ask("POST", "/predict", key, BODY)
    assert 'ratelimit-policy: "requests";q=5;w=1' in head
    assert 'ratelimit: "requests";r=0;t=1' in head
    assert "retry-after: 1" in head


def test_customers_count_on_the_fast_path(keyed: Keyed) -> None:
    batch = json.dumps({"customers": [CUSTOMER] * 20}).encode()
    for body in (batch, BODY):
        with keyed.connect() as connection, connection.makefile("rb") as answers:
            connection.sendall(make("GET", "/model", keyed.keys["batches"]))  # from now on, this worker knows the key
            assert read_answer(answers) == (200 if body is batch else 429)
            statuses = []
            for _ in range(3):
                connection.sendall(make("POST", "/predict", keyed.keys["batches"], body))
                statuses.append(read_answer(answers))
        assert statuses == ([200, 429, 429] if body is batch else [429] * 3)


def test_a_revoked_key_is_refused_by_all_workers_soon_also_on_open_connections(keyed: Keyed) -> None:
    key = keyed.keys["crm"]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(keyed.connect()) for _ in range(8)]
        files = [stack.enter_context(connection.makefile("rb")) for connection in connections]

        def ask_all() -> set[int]:
            for connection in connections:
                connection.sendall(make("POST", "/predict", key, BODY))
            return {read_answer(answers) for answers in files}

        assert ask_all() == {200}
        remove_key(keyed.path, "crm")
        wait_until(lambda: ask_all() == {401}, "the refusal")
    again = add_key(keyed.path, "crm", ["predict"])
    wait_until(lambda: keyed.ask("POST", "/predict", again, BODY)[0] == 200, "the new key")
    assert keyed.ask("POST", "/predict", key, BODY)[0] == 401  # replayed


def test_the_logs_name_the_caller_and_no_secret(keyed: Keyed) -> None:
    keyed.ask("POST", "/predict", keyed.keys["predict"], BODY)
    keyed.ask("PUT", "/admin/shadow", keyed.keys["admin"], b'{"version": 77}')
    wait_until(lambda: '"models changed"' in keyed.service.log, "the audit line")
    wait_until(lambda: '"caller": "predict"' in keyed.service.log, "the access line")
    lines = [json.loads(line) for line in keyed.service.log.splitlines() if line.startswith("{")]
    (change,) = [line for line in lines if line.get("event") == "models changed"]
    assert {name: change[name] for name in ("logger", "caller", "action", "version", "outcome")} == {
        "logger": "churn.audit", "caller": "admin", "action": "shadow", "version": 77, "outcome": "failed",
    }  # fmt: skip
    assert any(line.get("event") == "access refused" for line in lines)
    refusals = [line for line in lines if str(line.get("event")).startswith("access refused")]
    assert len(refusals) < 60
    for key in keyed.keys.values():
        assert key.rpartition("_")[2] not in keyed.service.log
    assert str(CUSTOMER["EstimatedSalary"]) not in keyed.service.log
    assert "authentication: API keys from" in keyed.service.log


def test_metrics_count_what_was_refused(keyed: Keyed) -> None:
    keyed.ask("POST", "/predict", None, BODY)
    body = keyed.ask("GET", "/metrics", keyed.keys["metrics"])[2].decode()
    found = dict(re.findall(r'^churn_refused_credentials_total{reason="([a-z-]+)"} ([0-9.]+)', body, re.MULTILINE))
    assert float(found["missing"]) > 0
    assert {"key", "expired", "scope", "throttled", "malformed", "ambiguous"} < found.keys()


def test_a_service_without_keys_is_for_this_machine_only(bank_models: Path, tmp_path: Path) -> None:
    program = START_ON.format(host="0.0.0.0")  # noqa: S104
    service = ServiceProcess(bank_models, tmp_path, 1, {}, program=program)
    assert service.wait() != 0
    assert "refusing to listen on 0.0.0.0 without authentication" in service.log
    with running_service(bank_models, tmp_path, program=START_ON.format(host="127.0.0.1")) as service:
        assert "authentication: off, since only this machine can connect" in service.log
        assert service.request("POST", "/predict", BODY.decode())[0] == 200


def test_an_open_service_says_so(bank_models: Path, tmp_path: Path) -> None:
    program = START_ON.format(host="0.0.0.0").replace("auth='auto'", "auth='none'")  # noqa: S104
    service = ServiceProcess(bank_models, tmp_path, 1, {}, program=program)
    try:
        service.wait_for_log("serving model")
        assert "authentication: OFF (CHURN_AUTH=none)" in service.log
    finally:
        service.kill()


START_ON = """
import sys
from pathlib import Path
from service.serve import serve
from service.settings import Settings
if __name__ == "__main__":
    serve(Settings(models=Path(sys.argv[1]), engine="onnx", auth='auto'), host="{host}", port=0)
"""
