"""The service as a process: start, several workers, and an orderly end."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from processes import run_python
from service_process import BODY, is_alive, running_service
from waiting import wait_until

from churn.errors import BundleError, EngineError, RegistryError
from service.serve import ServeError, serve
from service.settings import Settings

LEAN = """
import sys
from churn.runtime.imports import TRAINING_ONLY, block_imports
with block_imports():
    import keras
    print(*(name for name in TRAINING_ONLY if name in sys.modules))
import matplotlib, pandas, sklearn
"""
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_service_starts_light(bank_models: Path, tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(
        """
import asyncio, re, sys
from pathlib import Path
from service.serve import serve
from service.app import create_app
from service.settings import Settings
app = create_app(Settings(models=Path(sys.argv[1])))
async def run():
    async with app.router.lifespan_context(app):
        while app.model_state.phase == "loading":
            await asyncio.sleep(0.01)
    memory = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(app.model_state.phase, memory)
asyncio.run(run())
unwanted = {"tensorflow", "keras", "pandas", "sklearn", "pyarrow", "matplotlib", "scipy", "joblib"}
print(sorted(unwanted & sys.modules.keys()))
"""
    )
    first, second = run_python(script, bank_models).stdout.splitlines()
    phase, kilobytes = first.split()
    assert phase == "ready"
    assert second == "[]"
    assert int(kilobytes) < 120 * 1024


@pytest.mark.slow
def test_a_service_keeps_tensorflow_from_importing_what_it_has_no_use_for() -> None:
    assert run_python("-c", LEAN, covered=False).stdout == "\n"


@pytest.mark.slow
def test_sigterm_under_load_loses_nothing(bank_models: Path, tmp_path: Path) -> None:
    # Were the idle connection to hold the end up, it would do so for longer than the test waits.
    variables = {"CHURN_DRAIN_SECONDS": "3", "CHURN_SHUTDOWN_SECONDS": "3600"}
    with running_service(bank_models, tmp_path, 1, **variables) as service:
        statuses: list[int] = []
        stop = threading.Event()
        failures: list[BaseException] = []

        def load() -> None:
            connection = service.connect()
            while not stop.is_set():
                try:
                    connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                    statuses.append(answer.status)
                    if answer.getheader("connection") == "close":  # told to go elsewhere, as a balancer would be
                        break
                except (OSError, http.client.HTTPException) as error:
                    failures.append(error)
                    break
            connection.close()

        idle = socket.create_connection(("127.0.0.1", service.port))  # must not hold the end up
        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(statuses) > 200)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not service.is_ready())
        # It says so at once, while it still answers.
        assert service.request("GET", "/health/ready")[0] == 503
        assert "shutting down" in service.request("GET", "/health/ready")[1]
        assert service.request("POST", "/predict", BODY)[0] == 200
        assert service.wait() == 0
        stop.set()
        for thread in threads:
            thread.join()
        idle.close()
    assert set(statuses) == {200}
    assert failures == []


@pytest.mark.slow
def test_a_request_in_flight_is_finished_after_sigterm(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, CHURN_DRAIN_SECONDS="0") as service:
        head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(BODY)}\r\n\r\n"
        connection = service.send_part((head + BODY[:50]).encode())
        service.process.send_signal(signal.SIGTERM)
        wait_until(service.is_closed, "the end of listening")
        connection.sendall(BODY[50:].encode())
        answer = b""
        while part := connection.recv(4096):
            answer += part
        connection.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert service.wait() == 0


@pytest.mark.slow
def test_a_client_that_never_finishes_is_cut_off_and_a_second_signal_does_not_wait(
    bank_models: Path, tmp_path: Path
) -> None:
    for variables, signals in (({"CHURN_SHUTDOWN_SECONDS": "1"}, 1), ({"CHURN_SHUTDOWN_SECONDS": "3600"}, 2)):
        with running_service(bank_models, tmp_path, 1, **variables) as service:
            connection = service.send_part(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                                           b"Content-Length: 100\r\n\r\n{")  # fmt: skip
            for _ in range(signals):
                service.process.send_signal(signal.SIGTERM)
                wait_until(lambda: "shutting down" in service.log)
            assert service.wait() == 0
            connection.close()
            assert ("second signal: killing the workers" in service.log) == (signals == 2)


@pytest.mark.slow
def test_two_workers_share_the_work_and_one_death_is_not_the_others(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, workers=2, TMPDIR=str(tmp_path)) as service:
        assert len(list(tmp_path.glob("churn-metrics-*"))) == 1
        ok = 'churn_requests_total{method="POST",route="/predict",status="200"}'
        seen: list[float] = []
        sent = 0
        for _ in range(100):
            for _ in range(3):
                assert service.request("POST", "/predict", BODY)[0] == 200
                sent += 1
            seen.append(service.metrics()[ok])
        assert seen == sorted(seen)
        wait_until(lambda: service.metrics()[ok] == sent == 300)  # a worker counts within a tenth of a second
        assert service.metrics()["churn_score_count"] == sent

        first, second = service.workers()
        os.kill(first, signal.SIGKILL)
        answered = 0
        while answered < 50:
            try:
                assert service.request("POST", "/predict", BODY)[0] == 200
                answered += 1
            except ConnectionResetError:  # accepted by the worker that was killed
                continue
        wait_until(lambda: len(service.workers()) == 2 and service.metrics()["churn_ready_workers"] == 2)
        assert second in service.workers()
        assert first not in service.workers()
        assert service.metrics()[ok] >= sent + answered
        assert service.end() == 0
        assert f"worker {first} was killed by signal 9" in service.log
    assert list(tmp_path.glob("churn-metrics-*")) == []


@pytest.mark.slow
def test_workers_end_when_their_parent_is_gone_or_cut_short(bank_models: Path, tmp_path: Path) -> None:
    with running_service(bank_models, tmp_path, workers=2) as service:
        workers = service.workers()
        assert len(workers) == 2
        service.process.kill()
        service.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in workers))
    with running_service(bank_models, tmp_path, workers=2, CHURN_DRAIN_SECONDS="3600") as service:
        workers = service.workers()
        service.process.send_signal(signal.SIGINT)
        wait_until(lambda: service.log.count("shutting down") == 2)
        assert service.process.poll() is None
        assert service.end(signal.SIGINT) == 0
        assert not any(is_alive(pid) for pid in workers)


def test_a_taken_port_is_said(bank_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"127.0.0.1:{port} can't be bound: Address already in use; .*--take-over"):
            serve(Settings(models=bank_models, engine="onnx"), port=port)


def test_a_required_gpu_that_is_missing_is_said_before_anything_starts(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("churn.devices.find_gpu_files", list)
    with pytest.raises(EngineError, match=r"CHURN_REQUIRE_GPU is set, but no GPU can be used"):
        serve(Settings(models=bank_models, require_gpu=True))


def test_an_unknown_host_is_said(bank_models: Path) -> None:
    with pytest.raises(ServeError, match=r"no\.such\.host\.invalid:8000 can't be bound"):
        serve(Settings(models=bank_models, engine="onnx"), host="no.such.host.invalid")


def test_a_missing_or_damaged_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no version is current"):
        serve(Settings(models=tmp_path))
    (tmp_path / "1").mkdir()
    (tmp_path / "current").write_text("1\n")
    with pytest.raises(BundleError, match=r"manifest.json: is missing"):
        serve(Settings(models=tmp_path))
