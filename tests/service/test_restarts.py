"""Restarts, upgrades and faults of a whole service under load: which requests its clients lose."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from service_process import BODY, Load, ServiceProcess, is_alive, running_service
from waiting import DEADLINE, wait_until

from service.wire.listening import FIRST_INHERITED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

INHERITING = """
import os, sys
os.dup2({held}, {first})
os.environ |= {{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}}
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Starts a service as systemd does: with the listening socket as a descriptor of a certain number."""

STUCK = """
import sys, threading, time
from pathlib import Path
import service.predict.scoring as scoring
from service.serve import serve
from service.settings import Settings
real = scoring.score_body
def score_body(model, body, *rest, **more):
    if b'"stuck"' in body:
        time.sleep(10000)
    return real(model, body, *rest, **more)
scoring.score_body = score_body
if __name__ == "__main__":
    serve(Settings(models=Path(sys.argv[1]), engine="onnx"), port=0, workers=int(sys.argv[2]))
"""


def test_a_service_that_is_taken_over_loses_nothing_and_ends(bank_models: Path, tmp_path: Path) -> None:
    folders = tmp_path / "old", tmp_path / "new"
    for folder in folders:
        folder.mkdir()
    shared = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with running_service(bank_models, folders[0], 2, **shared) as old, Load(old.port) as load:
        wait_until(lambda: len(load.statuses) > 50)
        new = ServiceProcess(bank_models, folders[1], 1, shared, port=old.port, take_over=True)
        try:
            assert old.wait() == 0
            assert "another process accepts the connections now; draining" in old.log
            count = len(load.statuses)
            wait_until(lambda: len(load.statuses) > count + 50)
            load.stop()
            assert not load.failures
            assert not load.refused
            assert set(load.statuses) == {200}
            assert [path.name for path in (tmp_path / "churn").iterdir()] == [f"127.0.0.1-{old.port}.socket"]
            assert new.end() == 0
        finally:
            new.kill()
    assert not list((tmp_path / "churn").iterdir())


def test_a_service_outlives_a_successor_that_fails(bank_models: Path, tmp_path: Path) -> None:
    folders = tmp_path / "old", tmp_path / "new"
    for folder in folders:
        folder.mkdir()
    models = shutil.copytree(bank_models, tmp_path / "models")
    shared = {"XDG_RUNTIME_DIR": str(tmp_path), "CHURN_WORKER_START_SECONDS": "0.001"}
    with running_service(bank_models, folders[0], 1, XDG_RUNTIME_DIR=str(tmp_path)) as old:
        new = ServiceProcess(models, folders[1], 1, shared, port=old.port, take_over=True)
        try:
            old.wait_for_log("another process is about to take over")
            new.process.kill()
            old.wait_for_log("the process that was about to take over has exited")
        finally:
            new.kill()
        assert old.request("POST", "/predict", BODY)[0] == 200
        assert old.end() == 0


def test_a_socket_of_the_service_manager_is_used_and_kept_open(bank_models: Path, tmp_path: Path) -> None:
    """What waits in its queue is answered by the next process."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        starter = tmp_path / "inherit.py"
        starter.write_text(INHERITING.format(held=held.fileno(), first=FIRST_INHERITED))
        service = ServiceProcess(bank_models, tmp_path, 2, {}, starter=starter, pass_fds=[held.fileno()])
        try:
            service.wait_for_log("serving model")
            assert service.port == held.getsockname()[1]
            wait_until(lambda: service.count_ready() == 2)
            assert service.request("POST", "/predict", BODY)[0] == 200
            assert service.end() == 0
        finally:
            service.kill()
        with socket.create_connection(held.getsockname(), timeout=DEADLINE) as client:
            accepted, _ = held.accept()
            with accepted:
                client.sendall(b"still open")
                assert accepted.recv(10) == b"still open"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_restart_under_load_loses_no_request_of_clients_that_reconnect(
    bank_models: Path, tmp_path: Path, number: int
) -> None:
    with running_service(bank_models, tmp_path, 2) as service, Load(service.port, clients=8) as load:
        wait_until(lambda: len(load.statuses) > 100)
        if number == signal.SIGINT:  # a terminal sends it to all processes
            os.killpg(service.process.pid, number)
        else:
            service.process.send_signal(number)
        assert service.wait() == 0
        wait_until(lambda: load.refused)
        load.stop()
        assert not load.failures
        assert set(load.statuses) == {200}


def test_a_worker_with_a_blocked_scoring_thread_is_replaced(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, 1, program=STUCK, CHURN_WORKER_ANSWER_SECONDS="1") as service:
        (worker,) = service.workers()
        connection = service.connect()
        connection.request(
            "POST",
            "/predict",
            '{"CustomerId": "stuck", ' + " " * 300_000 + BODY[1:],
            {"Content-Type": "application/json"},
        )
        service.wait_for_log("failed: the scoring thread made no progress for 1 s")
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()
        connection.close()
        wait_until(lambda: not is_alive(worker))
        wait_until(lambda: service.count_ready() == 1)
        assert service.request("POST", "/predict", BODY)[0] == 200
        assert service.end() == 0


def disturb(service: ServiceProcess, load: Load, number: int) -> None:
    """Send SIGHUP to the parent or another signal to a worker under load, and wait until the service is whole again."""
    count, before = len(load.statuses), service.workers()
    wait_until(lambda: len(load.statuses) > count + 20)
    os.kill(service.process.pid if number == signal.SIGHUP else before[0], number)
    gone = set(before if number == signal.SIGHUP else before[:1])
    wait_until(lambda: not gone & {*service.workers()}, f"the end of {gone}")
    wait_until(lambda: len(service.workers()) == 2 and service.count_ready() == 2, "two workers")


def test_faults_under_load_lose_only_what_the_dead_worker_held(bank_models: Path, tmp_path: Path) -> None:
    """The quick form of benchmarks/restarts.py and benchmarks/soak.py."""
    with running_service(bank_models, tmp_path, 2, CHURN_WORKER_ANSWER_SECONDS="1") as service:
        ok = 'churn_requests_total{method="POST",route="/predict",status="200"}'
        seen: list[float] = []
        with Load(service.port, clients=8) as load:
            for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP):
                disturb(service, load, number)
                seen.append(service.metrics()[ok])
            count = len(load.statuses)
            wait_until(lambda: len(load.statuses) > count + 20)
            load.stop()
        assert set(load.statuses) == {200}
        # SIGKILL and SIGSTOP each end at most one request of each client; SIGTERM and SIGHUP none.
        assert len(load.failures) <= 2 * 8
        assert not load.refused
        files = sorted(path.name for (folder,) in [service.metrics_folders] for path in folder.glob("counter_*.db"))
        assert len(files) <= 2 + 4
        assert seen == sorted(seen)
        assert service.end() == 0
    assert not service.metrics_folders
