"""The images' health check, run as they run it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY

from service.probe import check_readiness

if TYPE_CHECKING:
    from collections.abc import Iterator

READY = b'HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{"status":"ready"}'
NOT_READY = b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"detail":"the model is being loaded"}'


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer one connection on a free port; what was asked must be whole."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /health/ready HTTP/1.1\r\n")
                for part in (answer[:20], answer[20:]):  # answers come in pieces
                    connection.sendall(part)

        thread = threading.Thread(target=respond)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def probe(port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "service" / "probe.py"), str(port)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own code


@pytest.mark.parametrize(("answer", "status", "said"), [(READY, 0, "ready"), (NOT_READY, 1, "being loaded")])
def test_the_command_passes_on_what_the_service_says(answer: bytes, status: int, said: str) -> None:
    with answering(answer) as port:
        done = probe(port)
    assert (done.returncode, done.stderr) == (status, "")
    assert said in done.stdout


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (READY, (True, '{"status":"ready"}')),
        (NOT_READY, (False, '{"detail":"the model is being loaded"}')),
        (b"HTTP/1.1 200", (False, "HTTP/1.1 200")),
        (b"", (False, "")),
    ],
)
def test_only_a_whole_200_is_ready(answer: bytes, expected: tuple[bool, str]) -> None:
    with answering(answer) as port:
        assert check_readiness(port) == expected


def test_the_probe_fails_where_nothing_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ready, answer = check_readiness(unused.getsockname()[1])
    assert not ready
    assert "refused" in answer
