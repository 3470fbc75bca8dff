"""Through real proxies and clients: nginx, HAProxy, Java's HttpClient, curl. Skipped where one is not installed."""

from __future__ import annotations

import getpass
import http.client
import json
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from bundles import CUSTOMER
from service_process import Load, ServiceProcess, running_service
from socket_service import JSON, Running, read_answers, request, serving
from table_requests import CSV, read_csv, to_csv
from waiting import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = """
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    upstream churn {{ server 127.0.0.1:{upstream}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://churn; {options} }}
    }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    {options}
frontend front
    bind 127.0.0.1:{port}
    default_backend churn
backend churn
    server one 127.0.0.1:{upstream}
"""
KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
UPGRADING = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
UNBUFFERED = "proxy_request_buffering off; proxy_buffering off;"
PROXIES = {
    "nginx, defaults": (NGINX, ""),
    "nginx, kept connections": (NGINX, KEPT),
    "nginx, unbuffered": (NGINX, KEPT + UNBUFFERED),
    "nginx, unbuffered HTTP/1.0": (NGINX, UNBUFFERED),
    "nginx, upgrade": (NGINX, UPGRADING),
    "nginx, upgrade unbuffered": (NGINX, UPGRADING + UNBUFFERED),
    "HAProxy, defaults": (HAPROXY, ""),
    "HAProxy, one connection each": (HAPROXY, "option httpclose"),
}


@contextmanager
def running_proxy(
    service: Running | None, folder: Path, template: str, options: str, upstream: str = ""
) -> Iterator[tuple[str, int]]:
    program = "nginx" if template is NGINX else "haproxy"
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (a Debian package of that name)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    file = folder / "proxy.conf"
    file.write_text(
        template.format(
            user=getpass.getuser(),
            folder=folder,
            port=port,
            upstream=upstream or (service and service.address[1]),
            options=options,
        )
    )
    command = ["nginx", "-g", "daemon off;", "-c", str(file)] if program == "nginx" else ["haproxy", "-f", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:  # noqa: S603
        try:
            wait_until(lambda: process.poll() is not None or is_open(port))
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            yield "127.0.0.1", port
        finally:
            process.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def service(bank_models: Path) -> Iterator[Running]:
    with serving(bank_models, max_held_bytes=2**20) as service:
        yield service


@pytest.fixture(scope="module", params=list(PROXIES.values()), ids=list(PROXIES))
def proxy(
    service: Running, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    with running_proxy(service, tmp_path_factory.mktemp("proxy"), *request.param) as address:
        yield address


def post(
    address: tuple[str, int], body: bytes, media_type: str, query: str = "", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send everything, then read."""
    connection = http.client.HTTPConnection(*address, timeout=DEADLINE)
    try:
        connection.request("POST", f"/predict{query}", body, {"Content-Type": media_type} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


HEADER, LINE = to_csv([CUSTOMER]).splitlines(keepends=True)
OFFER = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}


@pytest.mark.parametrize("query", ["", "?on_error=reject"])
def test_a_long_table_comes_through(proxy: tuple[str, int], query: str) -> None:
    rows = 400_000
    status, answer = post(proxy, HEADER + LINE * rows, CSV, query)
    assert status == 200
    assert answer.count(b"\n") == rows + 1
    assert answer.endswith(b"400000,0.538278,true,1,\n" if query else b"400000,0.538278,true,1\n")


def test_rows_that_can_not_be_scored_come_through(proxy: tuple[str, int]) -> None:
    status, answer = post(proxy, HEADER + (LINE * 999 + b"1,2\n") * 50, CSV, "?on_error=reject")
    assert (status, len([row for row in read_csv(answer) if row["error"]])) == (200, 50)


@pytest.mark.parametrize(("media_type", "status"), [("application/json", 413), ("text/plain", 415)])
def test_an_early_refusal_comes_through(proxy: tuple[str, int], media_type: str, status: int) -> None:
    found, answer = post(proxy, b" " * 50_000_000, media_type)
    assert (found, json.loads(answer)["status"]) == (status, status)


@pytest.mark.parametrize("headers", [{}, OFFER])
def test_every_client_gets_its_own_answers(proxy: tuple[str, int], headers: dict[str, str]) -> None:
    def ask(name: int) -> tuple[int, int, int]:
        body = json.dumps(CUSTOMER | {"CustomerId": name}).encode()
        if name % 3 == 0:
            body = json.dumps({"customers": [CUSTOMER | {"CustomerId": name}] * 2}).encode()
        status, answer = post(proxy, body, "application/json", headers=headers)
        document = json.loads(answer)
        return name, status, document.get("predictions", [document])[-1]["CustomerId"]

    with ThreadPoolExecutor(8) as pool:
        for name, status, found in pool.map(ask, range(200)):
            assert (status, found) == (200, name)


JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();  // offers HTTP/2
        for (int i = 1; i + 2 < arguments.length; i += 3) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + arguments[i]))
                .header("Content-Type", arguments[i + 1])
                .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[i + 2]))).build();
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().length() + " " + response.version());
        }
    }
}
"""


@pytest.mark.parametrize("behind", ["", "nginx, upgrade", "nginx, kept connections", "HAProxy, defaults"])
def test_javas_client_is_answered(service: Running, tmp_path: Path, behind: str) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed (Debian: openjdk-17-jdk-headless)")
    single, table = json.dumps(CUSTOMER).encode(), to_csv([CUSTOMER] * 5000)
    sent = [("/predict", "application/json", single), ("/predict", CSV, table),
            ("/predict?on_error=reject", CSV, table), ("/predict", "application/json", single)]  # fmt: skip
    arguments = []
    for position, (path, media_type, body) in enumerate(sent):
        (tmp_path / str(position)).write_bytes(body)
        arguments += [path, media_type, str(tmp_path / str(position))]
    (tmp_path / "Client.java").write_text(JAVA)

    def run(address: tuple[str, int]) -> None:
        command = ["java", str(tmp_path / "Client.java"), f"http://127.0.0.1:{address[1]}", *arguments]
        found = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)  # noqa: S603
        expected = [post(service.address, body, kind, path.partition("/predict")[2]) for path, kind, body in sent]
        assert found.stdout.splitlines() == [f"{status} {len(answer)} HTTP_1_1" for status, answer in expected], (
            found.stderr
        )
        assert {status for status, _ in expected} == {200}

    if not behind:
        run(service.address)
        return
    with running_proxy(service, tmp_path, *PROXIES[behind]) as address:
        run(address)


@pytest.mark.parametrize("options", [["--http2"], ["--http1.0"], ["-H", "Transfer-Encoding: chunked"], []])
def test_curl_is_answered(service: Running, options: list[str]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["curl", "-sS", *options, "--data-binary", "@-", "-H", f"Content-Type: {CSV}",
               f"http://127.0.0.1:{service.address[1]}/predict"]  # fmt: skip
    found = subprocess.run(command, input=to_csv([CUSTOMER] * 9), capture_output=True, timeout=DEADLINE, check=False)  # noqa: S603
    assert len(read_csv(found.stdout)) == 9, found.stderr


def test_the_connection_is_kept(service: Running) -> None:
    body = json.dumps(CUSTOMER).encode()
    offered = request(body, JSON + "".join(f"{name}: {value}\r\n" for name, value in OFFER.items()))
    with service.connect() as connection:
        for _ in range(3):
            connection.sendall(offered)
            [(status, headers, _)] = read_answers(connection, 1)
            assert (status, headers.get("connection")) == (200, None)


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", KEPT], ids=["one connection each", "kept connections"])
def test_replicas_behind_nginx_are_restarted_one_after_the_other_without_losing_a_request(
    bank_models: Path, tmp_path: Path, options: str
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    with ExitStack() as stack:
        services = []
        for folder in folders:
            folder.mkdir()
            services.append(stack.enter_context(running_service(bank_models, folder)))
        upstream = " max_fails=0; server 127.0.0.1:".join(str(service.port) for service in services) + " max_fails=0"
        _, port = stack.enter_context(running_proxy(None, tmp_path, NGINX, options, upstream))
        load = stack.enter_context(Load(port, clients=8))
        for service, folder in zip(services, folders, strict=True):
            count = len(load.statuses)
            wait_until(lambda count=count: len(load.statuses) > count + 100)  # type: ignore[misc]
            own = service.port
            assert service.end() == 0
            again = ServiceProcess(bank_models, folder, 1, {}, port=own)
            stack.callback(again.kill)
            again.wait_for_log("serving model")
            wait_until(lambda again=again: again.count_ready() == 1)  # type: ignore[misc]
        count = len(load.statuses)
        wait_until(lambda: len(load.statuses) > count + 100)
        load.stop()
    assert not load.failures
    assert set(load.statuses) == {200}
