"""The management port of a whole service."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import bundles
import pytest
from keyed import add_key, remove_key
from service_process import BODY, START, Load, ServiceProcess
from waiting import DEADLINE, wait_until

from churn.registry import Registry
from service.management.server import MAX_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

REREADING = START.replace(
    "    serve(",
    """    from service.env_file import EnvFile
    from service.settings import read_settings
    file = EnvFile(Path(sys.argv[1]).parent / "settings")
    def read():
        file.load()
        return read_settings(models=Path(sys.argv[1]), engine="onnx")
    serve(read(), port=port, workers=workers, reread=read)
    sys.exit()
    serve(""",
)

COUNTING = START.replace(
    "    serve(",
    """    import gc
    from service.supervisor import Supervisor
    run = Supervisor.run
    def count(supervisor):
        count = len(gc.get_objects()), gc.get_freeze_count()
        (Path(sys.argv[1]).parent / "objects").write_text("%d %d" % count)
        run(supervisor)
    Supervisor.run = count
    serve(""",
)


class Managed(ServiceProcess):
    """A service with a management port."""

    def __init__(self, models: Path, folder: Path, variables: dict[str, str], **more: Any) -> None:
        self.management = int(variables["CHURN_MANAGEMENT_PORT"])
        super().__init__(models, folder, 2, variables, **more)

    def manage(self, method: str, path: str, key: str = "") -> tuple[int, str]:
        return self.request(method, path, port=self.management, key=key)

    def is_managed_ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.manage("GET", "/health/ready")[0] == 200
        return False


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return {"CHURN_MANAGEMENT_PORT": port, "CHURN_ADMIN": "true", "XDG_RUNTIME_DIR": str(tmp_path)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    bundles.publish(folder)
    bundles.publish(folder)
    Registry(folder).promote(1)
    return folder


@pytest.fixture
def service(models: Path, tmp_path: Path, variables: dict[str, str]) -> Iterator[Managed]:
    started = Managed(models, tmp_path, variables)
    try:
        wait_until(started.is_managed_ready)
        yield started
    finally:
        started.kill()


def test_health_metrics_and_administration_have_a_port_of_their_own(service: Managed) -> None:
    assert json.loads(service.manage("GET", "/health/ready")[1]) == {"status": "ready", "model_version": "1"}
    assert service.manage("GET", "/health/live")[0] == 200
    assert service.request("GET", "/health/ready")[0] == 200
    for path in ("/metrics", "/admin/models"):
        assert service.request("GET", path)[0] == 404, path
        assert service.manage("GET", path)[0] == 200, path
    assert service.manage("POST", "/predict")[0] == 404
    assert service.request("POST", "/predict", BODY)[0] == 200
    counted = 'churn_requests_total{method="POST",route="/predict",status="200"} 1.0'
    wait_until(lambda: counted in service.manage("GET", "/metrics")[1], "the request in the metrics")

    status, text = service.manage("POST", "/admin/models/2/promote")
    assert (status, json.loads(text)["outcome"]) == (200, "switched")
    assert json.loads(service.request("POST", "/predict", BODY)[1])["model_version"] == "2"
    assert json.loads(service.manage("GET", "/health/ready")[1])["model_version"] == "2"
    status, text = service.manage("POST", "/admin/models/9/promote")
    assert (status, "version 9 does not exist" in text) == (409, True)
    assert service.end() == 0


def test_the_management_port_needs_the_same_keys(models: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    keys, audit = tmp_path / "keys.json", tmp_path / "audit.log"
    admin, reader = add_key(keys, "operator", ["admin"]), add_key(keys, "prometheus", ["metrics"])
    service = Managed(models, tmp_path, variables | {"CHURN_API_KEYS": str(keys), "CHURN_AUDIT_LOG": str(audit)})
    try:
        wait_until(service.is_managed_ready)  # needs no key
        expected = {("/metrics", ""): 401, ("/metrics", reader): 200, ("/metrics", admin): 403}
        expected |= {("/admin/models", ""): 401, ("/admin/models", reader): 403, ("/admin/models", admin): 200}
        expected |= {("/nothing", ""): 401, ("/metrics/", ""): 401, ("/admin/models", "churn_wrong"): 401}
        assert {each: service.manage("GET", *each)[0] for each in expected} == expected
        text = service.manage("GET", "/metrics", reader)[1]
        refused = {name: f'churn_refused_credentials_total{{reason="{name}"}} ' for name in ("missing", "scope", "key")}
        assert {name: text.partition(series)[2].split()[0] for name, series in refused.items()} == {
            "missing": "4.0", "scope": "2.0", "key": "1.0",
        }  # fmt: skip
        assert service.manage("POST", "/admin/models/2/promote", reader)[0] == 403
        assert service.manage("POST", "/admin/models/2/promote", admin)[0] == 200
        remove_key(keys, "operator")
        wait_until(lambda: service.manage("GET", "/admin/models", admin)[0] == 401, "the revocation")
        assert service.end() == 0
    finally:
        service.kill()
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    promoted = [line for line in lines if "promote" in json.dumps(line) and line.get("caller") == "operator"]
    assert promoted
    assert {line["reason"] for line in lines if line["event"] == "access refused"} >= {"missing", "scope"}


def test_a_management_port_for_others_needs_keys(models: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    service = Managed(models, tmp_path, variables | {"CHURN_MANAGEMENT_HOST": "0.0.0.0"})  # noqa: S104  refused
    try:
        assert service.wait() == 1
        assert "refusing to listen on 0.0.0.0 without authentication" in service.log
    finally:
        service.kill()


def test_a_head_without_end_is_refused_on_the_management_port_too(service: Managed) -> None:
    with socket.create_connection(("127.0.0.1", service.management), timeout=DEADLINE) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 200_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_refusals_on_the_management_port_are_counted_with_those_of_the_workers(service: Managed) -> None:
    def count(limit: str) -> float:
        series = f'churn_limited_requests_total{{limit="{limit}"}} '
        return float(service.manage("GET", "/metrics")[1].partition(series)[2].split()[0])

    for port in (service.port, service.management):
        assert service.request("GET", "/" + "x" * 10_000, port=port)[0] == 414
    wait_until(lambda: count("max_url_bytes") == 2, "both refusals")
    answer = service.request("PUT", "/admin/shadow", " " * 5000, port=service.management)
    assert (answer[0], json.loads(answer[1])["detail"]) == (413, "allowed here: 4096 bytes (CHURN_MAX_ADMIN_BYTES)")
    assert count("max_admin_bytes") == 1


def test_connections_beyond_the_limit_of_the_management_port_are_refused_and_counted(service: Managed) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.management)))
        wait_until(lambda: service.manage("GET", "/admin/models")[0] == 503, "a refusal")
        status, text = service.manage("GET", "/metrics")  # a probe
        assert status == 200, text
        assert 'churn_limited_requests_total{limit="max_connections"} 0.0' not in text
    wait_until(lambda: service.manage("GET", "/admin/models")[0] == 200, "the clients to be gone")


def test_the_readiness_tells_of_the_shutdown(models: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    service = Managed(models, tmp_path, variables | {"CHURN_DRAIN_SECONDS": "60"})
    try:
        wait_until(service.is_managed_ready)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "the service is shutting down" in service.manage("GET", "/health/ready")[1])
        assert service.request("POST", "/predict", BODY)[0] == 200
    finally:
        service.kill()


def test_a_successor_takes_the_management_port_over(
    service: Managed, models: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    with Load(service.port) as load:
        new = Managed(models, folder, variables, port=service.port, take_over=True)
        try:
            assert service.wait() == 0
            new.wait_for_log(f"health checks, metrics and administration on http://127.0.0.1:{service.management}")
            wait_until(new.is_managed_ready)
            load.stop()
            assert not load.failures
            assert not load.refused
        finally:
            new.kill()


def test_a_management_port_in_use_is_one_line(models: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(variables["CHURN_MANAGEMENT_PORT"]))):
        service = Managed(models, tmp_path, variables)
        assert service.wait() == 1
    assert f"the management port 127.0.0.1:{service.management} can't be bound: Address already in use" in service.log


def test_sighup_reads_the_settings_again(models: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    batch = json.dumps({"customers": [bundles.CUSTOMER] * 3})
    file = tmp_path / "settings"
    file.write_text("CHURN_MAX_CUSTOMERS=2\n")
    service = Managed(models, tmp_path, variables, program=REREADING)
    try:
        wait_until(service.is_managed_ready)
        assert service.request("POST", "/predict", batch)[0] == 413
        with Load(service.port) as load:
            file.write_text("CHURN_MAX_CUSTOMERS=3\nCHURN_WORKER_ANSWER_SECONDS=7\n")
            service.process.send_signal(signal.SIGHUP)
            service.wait_for_log("all workers have been restarted")
        assert not load.failures
        assert set(load.statuses) == {200}
        assert service.request("POST", "/predict", batch)[0] == 200
        assert "settings that have changed since the start: CHURN_MAX_CUSTOMERS" in service.log
        assert "CHURN_WORKER_ANSWER_SECONDS has changed; restart the service to apply the change" in (service.log)

        file.write_text("CHURN_MAX_CUSTOMERS=none\n")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_log("the workers are not restarted: CHURN_MAX_CUSTOMERS='none' can't be used")
        assert service.request("POST", "/predict", batch)[0] == 200
        assert service.end() == 0
    finally:
        service.kill()


def test_probes_do_not_wait_for_a_collection_of_all_objects(
    models: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    service = Managed(models, tmp_path, variables, program=COUNTING)
    try:
        wait_until(service.is_managed_ready)
        looked_at, left_out = map(int, (tmp_path / "objects").read_text().split())
        assert looked_at < left_out / 10
    finally:
        service.kill()
