"""Start the servers of the benchmarks, and measure their use of CPU and memory."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Customers = list[dict[str, Any]]

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
START_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")


def flat(customers: Customers) -> Any:  # noqa: ANN401  a JSON value
    """Return a request body of our API: one customer as an object, several under a key."""
    return customers[0] if len(customers) == 1 else {"customers": customers}


@dataclass(frozen=True, eq=False)
class Server:
    """A server of the comparison."""

    name: str
    command: list[str]
    """Command with the placeholder ``{port}``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    batch_path: str = "/predict"
    wire: Callable[[Customers], Any] = flat


@dataclass(frozen=True)
class Running:
    """A running server that has responded."""

    port: int
    pid: int
    ready_seconds: float


def ours(engine: str, models: Path, workers: int = 1, folder: Path = BIN) -> Server:
    """Return our service; `folder` contains the command ``churn``."""
    command = [str(folder / "churn"), "serve", "--port", "{port}", "--workers", str(workers), "--engine", engine]
    command += ["--models", str(models.absolute())]
    return Server(f"churn, {engine}", command, {"CHURN_THREADS": "1", "CHURN_LOG_LEVEL": "warning"})


def limit(models: Path, app: str = "app") -> Server:
    """Return the server for the limit, or another application `app` in the same file."""
    command = [str(BIN / "python"), "-m", "uvicorn", "--app-dir", str(HERE), f"limit_app:{app}", "--port", "{port}",
               "--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]  # fmt: skip
    return Server("limit", command, {"CHURN_MODELS": str(models.absolute())}, batch_path="/predict_batch")


def find_peers(folder: Path, names: list[str]) -> list[Server]:
    """Return the installed peers of a folder with a ``run.py`` in the form of the peers' harness.

    Peers that need separate preparation are skipped.
    """
    specification = importlib.util.spec_from_file_location("peers_run", folder / "run.py")
    if specification is None or specification.loader is None:
        raise SystemExit(f"{folder / 'run.py'} can't be read")
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found = []
    for name in names:
        peer = module.P[name]
        place = Path(module.HOME, "venv", str(peer["venv"]), "bin")
        if "prep" in peer or "mls" in peer or not place.is_dir():
            sys.stdout.write(f"skipping peer {name}: not installed in {place}, or needs separate preparation\n")
            continue
        values = {
            "bin": place,
            "py": place / "python",
            "apps": module.APPS,
            "home": module.HOME,
            "app": peer.get("app", ""),
        }
        command = shlex.split(peer["cmd"].format(**values, port="{port}"))
        environment = {"MODEL_DIR": module.MODEL, "PYTHONPATH": module.APPS, **peer["env"]}
        paths = (peer["path"], peer["path"]) if "path" in peer else ("/predict", "/predict_batch")
        found.append(Server(name, command, environment, *paths, peer.get("wire", flat)))
    return found


@contextlib.contextmanager
def launch(server: Server, first: Customers, log: Path) -> Iterator[Running]:
    """Start a server, wait for its first response, and stop it after the block."""
    port = find_free_port()
    command = [part.replace("{port}", str(port)) for part in server.command]
    body = json.dumps(server.wire(first)).encode()
    started = time.perf_counter()
    with (
        log.open("wb") as out,
        subprocess.Popen(  # noqa: S603  our own commands
            command, env=os.environ | dict(server.environment), stdout=out, stderr=out
        ) as process,
    ):
        try:
            while not _answers(port, server.path, body):
                if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                    raise RuntimeError(f"{server.name} did not start: see {log}")
                time.sleep(0.01)
            yield Running(port, process.pid, time.perf_counter() - started)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def find_free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(port: int, path: str, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def find_family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        found.append(parent)
        for thread in _threads(parent):
            with contextlib.suppress(OSError):
                waiting += map(int, (thread / "children").read_text().split())
    return found


def measure_cpu(pid: int, command: str = "") -> float:
    """Return the CPU seconds of the running threads of a process and its descendants, as far as they run a command."""
    total = 0
    for member in find_family(pid):
        if command and not _runs(member, command):
            continue
        for thread in _threads(member):
            with contextlib.suppress(OSError):
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _runs(pid: int, command: str) -> bool:
    with contextlib.suppress(OSError):
        return command in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return False


def _threads(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def measure_memory(pid: int) -> tuple[float, float]:
    """Return resident and proportional memory of a process and its descendants, in MB (10^6 bytes)."""
    sums = {"Rss": 0, "Pss": 0}
    for member in find_family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                key, _, rest = line.partition(":")
                if key in sums:
                    sums[key] += int(rest.split()[0]) * 1024
    return sums["Rss"] / 1e6, sums["Pss"] / 1e6


def measure_machine() -> float:
    """Return the CPU seconds that the machine has been busy, including time stolen by other guests."""
    numbers = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
    return (sum(numbers[:3]) + sum(numbers[5:8])) / TICKS
