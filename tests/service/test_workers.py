"""A service of several workers, whole: what its clients notice of restarts and of workers that hang."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import bundles
import pytest
from processes import run_python
from service_process import BODY, Load, ServiceProcess, is_alive, running_service
from waiting import DEADLINE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

CRASHING = """
import sys
from pathlib import Path
import service.server
import service.supervisor
from service.settings import Settings
def fail(*_, **__):
    raise MemoryError("no room for the model")
service.server._make_server = fail
service.supervisor.FIRST_DELAY_SECONDS = 0.01
if __name__ == "__main__":
    from cli.main import main
    sys.argv = ["churn", "serve", "--models", sys.argv[1], "--port", "0", "--workers", "2", "--engine", "onnx"]
    main()
"""

pytestmark = pytest.mark.slow


def test_a_stopped_worker_is_replaced_and_the_service_goes_on(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, workers=2, CHURN_WORKER_ANSWER_SECONDS="2") as service:
        wait_until(lambda: service.count_ready() == 2)
        first, second = service.workers()
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: not is_alive(first))
        wait_until(lambda: service.count_ready() == 2)
        assert second in service.workers()
        assert service.request("POST", "/predict", BODY)[0] == 200
        assert service.end() == 0
        assert f"worker {first} did not answer for 2 s; starting another at once" in service.log
    assert not list(tmp_path.glob("churn-metrics-*"))


def test_sighup_brings_the_current_model_to_every_worker_and_no_request_fails(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    bundles.publish(models)
    with running_service(models, tmp_path, workers=2, CHURN_DRAIN_SECONDS="0.3") as service:
        wait_until(lambda: service.count_ready() == 2)
        before = service.workers()
        with Load(service.port) as load:
            wait_until(lambda: len(load.statuses) > 100)
            bundles.publish(models)
            service.process.send_signal(signal.SIGHUP)
            unready = 0
            while "all workers have been restarted" not in service.log:
                unready += not service.is_ready()
                time.sleep(0.02)
                assert service.process.poll() is None
            count = len(load.statuses)
            wait_until(lambda: len(load.statuses) > count + 100)
        assert not load.failures
        assert set(load.statuses) == {200}
        assert set(load.versions) == {"1", "2"}
        assert set(load.versions[count + 8 :]) == {"2"}
        assert unready == 0
        assert not {*before} & {*service.workers()}
        (models / "current").write_text("7\n")
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_log("the workers are not restarted")
        assert service.request("POST", "/predict", BODY)[0] == 200
        assert service.end() == 0


def test_no_worker_accepts_a_request_before_it_is_ready(bank_models: Path, tmp_path: Path) -> None:
    service = ServiceProcess(bank_models, tmp_path, 2, {})
    statuses: list[int] = []

    def ask() -> bool:
        with suppress(OSError, http.client.HTTPException):  # until one listens
            statuses.append(service.request("POST", "/predict", BODY)[0])
        return service.log.count(" is ready: engine ") == 2

    try:
        service.wait_for_log("serving model")
        wait_until(ask)
        assert set(statuses) <= {200}
        wait_until(lambda: ask() and bool(statuses))  # a worker says that it is ready just before it listens
        assert set(statuses) == {200}
        assert service.end() == 0
    finally:
        service.kill()


def test_sighup_brings_the_current_model_to_a_single_worker(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    bundles.publish(models)
    with running_service(models, tmp_path, CHURN_DRAIN_SECONDS="0.3") as service:
        (models / "current").write_text("7\n")
        service.wait_for_log("the models are unchanged: current: ")
        bundles.publish(models, threshold=0.25)
        with Load(service.port, clients=2) as load:
            wait_until(lambda: len(load.statuses) > 20)
            service.process.send_signal(signal.SIGHUP)
            service.wait_for_log("all workers have been restarted")
            count = len(load.statuses)
            wait_until(lambda: len(load.statuses) > count + 20)
        assert not load.failures
        assert set(load.statuses) == {200}
        assert set(load.versions[count + 8 :]) == {"2"}
        assert service.end() == 0
    assert not list(tmp_path.glob("churn-models-*"))


def test_ctrl_c_lets_workers_drain_though_the_terminal_sends_it_to_them_too(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, workers=2, CHURN_DRAIN_SECONDS="0.5") as service:
        wait_until(lambda: service.count_ready() == 2)
        workers = service.workers()
        for pid in (*workers, service.process.pid):
            os.kill(pid, signal.SIGINT)
        assert service.process.wait(DEADLINE) == 0
        assert "the service has stopped" in service.log
        assert "was killed" not in service.log
        assert "Traceback" not in service.log


def test_a_worker_that_is_replaced_loads_what_the_others_serve_whatever_happened_to_the_folder(
    bank_models: Path, tmp_path: Path
) -> None:
    models = shutil.copytree(bank_models, tmp_path / "models")
    with running_service(models, tmp_path, workers=2) as service:
        (models / "1" / "model.onnx").write_bytes(b"damaged")
        (models / "1" / "manifest.json").unlink()
        first, second = service.workers()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not is_alive(first))
        wait_until(lambda: service.count_ready() == 2)
        assert second in service.workers()
        assert "failed" not in service.log
        assert {service.request("POST", "/predict", BODY)[0] for _ in range(20)} == {200}
        assert service.end() == 0
    assert not list(tmp_path.glob("churn-models-*"))


def test_workers_that_can_not_start_end_the_command_with_the_reason(bank_models: Path, tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(CRASHING)
    done = run_python(script, bank_models, check=False, variables={"TMPDIR": str(tmp_path)})
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("error: 5 workers in a row could not be started; the last: worker ")
    assert told.endswith(" failed: MemoryError: no room for the model")
    assert not list(tmp_path.glob("churn-metrics-*"))
