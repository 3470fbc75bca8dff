"""A service of several workers that changes its model while clients use it and workers die."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import bundles
import pytest
from service_process import BODY, is_alive, running_service
from tampering import flip_byte
from test_workers import Load
from waiting import wait_until

from churn.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from service_process import ServiceProcess

pytestmark = pytest.mark.slow


def read_model(service: ServiceProcess) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(service.request("GET", "/model")[1])
    return model


def wait_for_version(service: ServiceProcess, version: str) -> None:
    """Wait until a change to a version has been made in all workers."""

    def is_served() -> bool:
        change = read_model(service).get("last_change", {})
        return (change.get("outcome"), change.get("version")) == ("switched", version)

    wait_until(is_served, f"version {version}")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for _ in range(4):
        bundles.publish(root)
    flip_byte(root / "4" / "model.onnx", 100)
    Registry(root).promote(1)
    return root


def test_clients_notice_nothing_of_changes_but_the_version(models: Path, tmp_path: Path) -> None:
    registry = Registry(models)
    with running_service(models, tmp_path, workers=2, CHURN_ADMIN="true") as service:
        with Load(service.port) as load:
            for version in (2, 3, 1, 3):
                registry.promote(version)
                wait_for_version(service, str(version))
                done = len(load.versions)
                wait_until(lambda done=done: len(load.versions) > done + 30)  # type: ignore[misc]
                assert set(load.versions[done + 8 :]) == {str(version)}  # but for those in flight
                status, answer = service.request("POST", "/admin/models/4/promote")
                assert status == 409
                assert "4/model.onnx: SHA-256 differs" in answer
            assert service.request("POST", "/admin/models/rollback")[0] == 200
            wait_for_version(service, "1")
        assert not load.failures
        assert set(load.statuses) == {200}
        metrics = service.metrics()
        assert metrics['churn_model_changes_total{outcome="switched"}'] == 5
        assert metrics['churn_model_changes_total{outcome="failed"}'] == 4
        assert [name for name in metrics if name.startswith("churn_model_info")] == [
            'churn_model_info{device="CPU",engine="onnx",version="1"}'
        ]
        assert service.end() == 0
    assert not list(tmp_path.glob("churn-m*"))


def test_a_worker_that_is_replaced_serves_what_the_others_switched_to(models: Path, tmp_path: Path) -> None:
    with running_service(models, tmp_path, workers=2) as service:
        Registry(models).promote(2)
        wait_for_version(service, "2")
        (models / "2" / "model.onnx").unlink()
        (models / "current").write_text("1\n")
        wait_for_version(service, "1")
        Registry(models).promote(3)
        wait_for_version(service, "3")
        first, second = service.workers()
        for pid in (first, second):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
            wait_until(lambda: service.count_ready() == 2)
        versions = {json.loads(service.request("POST", "/predict", BODY)[1])["model_version"] for _ in range(20)}
        assert versions == {"3"}
        assert service.end() == 0


def test_the_comparison_with_a_shadow_is_that_of_all_workers(models: Path, tmp_path: Path) -> None:
    with running_service(models, tmp_path, workers=2, CHURN_SHADOW_VERSION="2") as service:
        wait_until(lambda: read_model(service).get("shadow") == "2")
        wait_until(lambda: read_model(service).get("last_change", {}).get("action") == "shadow")
        for _ in range(20):  # each on a connection of its own, so that both workers get some
            assert service.request("POST", "/predict", BODY)[0] == 200

        def are_counted() -> bool:
            report = json.loads(service.request("GET", "/model/shadow")[1])
            return bool(report["compared"] + report["dropped"] == 20)

        wait_until(are_counted)
        assert service.end() == 0
