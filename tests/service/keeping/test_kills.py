"""Processes of a service that are killed under load: durable answers have their records, and the chains verify."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundles import CUSTOMER
from running import start
from service_process import ServiceProcess
from waiting import DEADLINE, wait_until

from records.find import select
from records.store import open_store
from records.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


class Clients:
    """Threads that score customers, and note the identifiers of answered requests."""

    def __init__(self, port: int, count: int = 4) -> None:
        self.answered: list[str] = []
        self._port = port
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        number = 0
        while not self._stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
            with suppress(OSError, http.client.HTTPException):
                while not self._stopped.is_set():
                    number += 1
                    name = f"client-{client}-{number}"
                    headers = {"Content-Type": "application/json", "X-Request-ID": name}
                    connection.request("POST", "/predict", json.dumps(CUSTOMER), headers)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        self.answered.append(name)
            connection.close()
            self._stopped.wait(0.01)

    def wait_for_more(self, count: int = 50) -> None:
        wanted = len(self.answered) + count
        wait_until(lambda: len(self.answered) >= wanted, "the answers")

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def find_children(pid: int, part: bytes) -> list[int]:
    """Return the child processes of any thread whose command line has a part."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if part in Path(f"/proc/{child}/cmdline").read_bytes()]


def list_writers(service: ServiceProcess) -> list[int]:
    return [writer for worker in service.workers() for writer in find_children(worker, b"records.writer")]


def kill_all(service: ServiceProcess) -> None:
    for pid in (*list_writers(service), *service.workers(), service.process.pid):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture(params=["durable", "behind"])
def service(request: pytest.FixtureRequest, bank_models: Path, tmp_path: Path, url: str) -> Iterator[ServiceProcess]:
    variables = {"CHURN_RECORDS": url, "CHURN_RECORDS_MODE": request.param}
    service = ServiceProcess(bank_models, tmp_path, 2, variables)
    try:
        service.wait_for_log("serving model")
        wait_until(lambda: service.count_ready() == 2)
        yield service
    finally:
        service.kill()


def test_what_was_answered_before_a_kill_is_recorded(
    service: ServiceProcess, bank_models: Path, url: str, request: pytest.FixtureRequest
) -> None:
    mode = request.node.callspec.params["service"]
    clients = Clients(service.port)
    clients.wait_for_more()
    os.kill(list_writers(service)[0], signal.SIGKILL)
    clients.wait_for_more()
    wait_until(lambda: len(list_writers(service)) == 2)
    if mode == "durable":  # behind, a worker takes what it has not handed over with it
        os.kill(service.workers()[0], signal.SIGKILL)
        clients.wait_for_more()
        wait_until(lambda: len(list_writers(service)) == 2)
        kill_all(service)
        clients.stop()
    else:
        clients.stop()
        assert service.end() == 0
    store = open_store(url)

    def find_missing() -> set[str]:
        return set(clients.answered) - {record.request_id for part in select(store) for record in part}

    if mode == "durable":
        assert find_missing() == set()
    else:
        with start(bank_models, records=url):  # loads what was put into a file while there was no writer
            wait_until(lambda: find_missing() == set(), "the records")
    assert verify(store).faults == []


@pytest.mark.parametrize("service", ["behind"], indirect=True)
def test_what_was_in_files_when_all_processes_were_killed_is_recorded_once(
    service: ServiceProcess, bank_models: Path, url: str
) -> None:
    clients = Clients(service.port)
    clients.wait_for_more()
    store = open_store(url)
    with store.writing() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON churn_writers BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    wait_until(lambda: service.metrics()["churn_records_down"] == 1)
    clients.wait_for_more()
    clients.stop()

    def count_kept() -> float:
        metrics = service.metrics()
        return sum(metrics[f'churn_records_total{{state="{state}"}}'] for state in ("committed", "spilled"))

    wait_until(lambda: count_kept() == len(clients.answered))
    kill_all(service)
    with store.writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    with start(bank_models, records=url):
        wait_until(lambda: not [*Path(url.removeprefix("sqlite:///") + "-spill").glob("*.spill")], "the loading")
    found = [record.request_id for part in select(store) for record in part]
    assert sorted(found) == sorted(clients.answered)
    assert verify(store).faults == []
