"""What the tests themselves lean on."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from processes import SIGNALS, default_signals, run_python, start_python

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ignored_signals() -> Iterator[None]:
    """Ignore and block signals, as a process may inherit it."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("ignored_signals")
def test_a_process_handles_signals_whatever_the_tests_inherited(number: signal.Signals) -> None:
    code = "print(flush=True); import time; time.sleep(600)"
    with start_python("-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        process.communicate()
    assert process.returncode == -number
    assert signal.getsignal(number) == signal.SIG_IGN
    assert number in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.usefixtures("ignored_signals")
def test_the_tests_themselves_go_on_ignoring_what_they_ignored(number: signal.Signals) -> None:
    with default_signals():
        signal.raise_signal(number)


def test_a_process_that_fails_shows_why() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_python("-c", "1 / 0")
    assert run_python("-c", "1 / 0", check=False).returncode == 1
