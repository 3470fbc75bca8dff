"""Processes that tests start: Python with the checkout on its path, and signals handled as at a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bank import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
"""Environment variables by which a process that is started measures its coverage."""
PATHS = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests")))


@contextmanager
def default_signals() -> Iterator[None]:
    """Let processes that are started inside handle signals as at a terminal.

    A shell without job control lets what it starts in the background ignore SIGINT, `nohup` does so with SIGHUP. What
    is ignored or blocked is inherited; what is handled is not, so a handler that does nothing keeps this process as
    it was.
    """
    ignored = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def start_python(
    *arguments: object, variables: dict[str, str] | None = None, covered: bool = True, **more: Any
) -> subprocess.Popen[str]:
    """Start Python with these arguments; its output is text.

    Parameters
    ----------
    *arguments : object
        What follows ``python``.
    variables : dict, optional
        Environment variables beside those of this process.
    covered : bool
        Whether its coverage is measured where that of this process is; TensorFlow takes a third longer with it.
    **more : Any
        Further parameters of `subprocess.Popen`.
    """
    environment = os.environ | {"PYTHONPATH": PATHS} | (variables or {})
    environment = {name: value for name, value in environment.items() if covered or name not in COVERAGE}
    with default_signals():
        return subprocess.Popen([sys.executable, *map(str, arguments)], text=True, env=environment, **more)  # noqa: S603  our own code


def run_python(*arguments: object, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end and capture what it writes; with `check`, a failure is an error."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    with start_python(*arguments, **pipes) as process:
        try:
            written, errors = process.communicate()
        except BaseException:  # the test's deadline
            process.kill()
            raise
    assert not check or process.returncode == 0, errors
    return subprocess.CompletedProcess(process.args, process.returncode, written, errors)


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    """Wait until a process writes a line to its standard output; fail with its errors if it ends first."""
    assert process.stdout is not None
    for written in process.stdout:
        if written == f"{line}\n":
            return
    raise AssertionError(f"the process ended: {process.communicate()[1]}")
