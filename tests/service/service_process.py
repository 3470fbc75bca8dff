"""A service as a process of its own, and what is asked of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundles import CUSTOMER
from processes import start_python
from waiting import DEADLINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = json.dumps(CUSTOMER)
START = """
import sys
from pathlib import Path
from service.serve import serve
from service.settings import Settings
if __name__ == "__main__":
    workers, port, take_over = map(int, sys.argv[2:])
    serve(Settings(models=Path(sys.argv[1]), engine="onnx"), port=port, workers=workers, take_over=bool(take_over))
"""


class ServiceProcess:
    """A running service; its temporary files and what it logs lie in `folder`.

    `program` starts the service; `starter` is a program that becomes this one.
    """

    def __init__(
        self,
        models: Path,
        folder: Path,
        workers: int,
        variables: dict[str, str],
        *,
        port: int = 0,
        take_over: bool = False,
        program: str = START,
        starter: Path | None = None,
        **more: Any,
    ) -> None:
        self.folder = folder
        script = folder / "start.py"
        script.write_text(program)
        with (folder / "log").open("wb") as log:
            self.process = start_python(
                *([starter] if starter else []),
                script,
                models,
                workers,
                port,
                int(take_over),
                stderr=log,
                process_group=0,
                **more,
                variables={"CHURN_DRAIN_SECONDS": "0.5", "TMPDIR": str(folder), "XDG_RUNTIME_DIR": ""} | variables,
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def metrics_folders(self) -> list[Path]:
        return [*self.folder.glob("churn-metrics-*")]

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log or self.process.poll() is not None, f"the log line {text!r}")
        assert text in self.log

    @property
    def port(self) -> int:
        found = re.search(r"http://127.0.0.1:(\d+)", self.log)
        assert found
        return int(found[1])

    def connect(self, port: int | None = None) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=DEADLINE)

    def send_part(self, part: bytes) -> socket.socket:
        """Send the beginning of a request to score; return its connection once the service is reading it."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        connection.sendall(part)
        wait_until(lambda: self.metrics()["churn_requests_in_flight"] == 1, "the request")
        return connection

    def request(
        self, method: str, path: str, body: str | None = None, *, port: int | None = None, key: str = ""
    ) -> tuple[int, str]:
        """Return the status and the body of a response; by default on the port of the service."""
        connection = self.connect(port)
        headers = ({"Content-Type": "application/json"} if body else {}) | ({"X-API-Key": key} if key else {})
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        with suppress(OSError, http.client.HTTPException):
            return self.request("GET", "/health/ready")[0] == 200
        return False

    def is_closed(self) -> bool:
        try:
            self.request("GET", "/health/live")
        except ConnectionRefusedError:
            return True
        except OSError:  # it was still in the listener's queue
            return False
        return False

    def metrics(self) -> dict[str, float]:
        lines = self.request("GET", "/metrics")[1].splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def count_ready(self) -> int:
        with suppress(OSError, http.client.HTTPException):
            return int(self.metrics().get("churn_ready_workers", 0))
        return 0

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = []
        for pid in children:
            with suppress(OSError):  # it has ended since
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(int(pid))
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """End every process of the service that is left."""
        with suppress(ProcessLookupError):  # none is
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def is_alive(pid: int) -> bool:
    return read_state(pid) not in {"", "Z"}


def read_state(pid: int) -> str:
    """Return the letter of a process's state (proc(5)), e.g. T if it is stopped; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Load:
    """Clients that keep asking on connections of their own, and open another where theirs are closed or fail."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self._port = port
        self._stop = threading.Event()
        self.statuses: list[int] = []
        self.versions: list[str] = []
        self.failures: list[BaseException] = []
        self.refused: list[BaseException] = []
        """Connections that were refused: nothing was sent."""
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the answers that are due."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        headers = {"Content-Type": "application/json"} | ({"Connection": "close"} if number % 4 == 0 else {})
        while not self._stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, headers)
                answer = connection.getresponse()
                self.versions.append(answer.read().decode().rpartition('"model_version":')[2].strip('"}'))
                self.statuses.append(answer.status)
                if answer.getheader("connection") != "close":
                    continue
            except ConnectionRefusedError as error:
                self.refused.append(error)
                self._stop.wait(0.05)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
            connection.close()
        connection.close()


@contextmanager
def running_service(
    models: Path, folder: Path, workers: int = 1, program: str = START, **variables: str
) -> Iterator[ServiceProcess]:
    """Start a service and wait until all of its workers are ready; end every process of it afterwards."""
    service = ServiceProcess(models, folder, workers, variables, program=program)
    try:
        service.wait_for_log("serving model")
        wait_until(lambda: service.count_ready() == workers, "every worker's readiness")
        yield service
    finally:
        service.kill()
