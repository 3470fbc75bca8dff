"""The supervisor with real processes as workers, which serve nothing; test_workers.py tries the whole service."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import start_python
from service_process import is_alive, read_state
from waiting import DEADLINE, wait_until

from service.observe.multiprocess import share_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("supervised.py")


class Supervised:
    """A running `supervised.py`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_file = folder / "log"
        self.behave("ready")
        (folder / "argument").write_text("first")

    def start(self, start_seconds: float = 60, answer_seconds: float = 20) -> None:
        with self.log_file.open("ab") as log:
            self.process = start_python(
                PROGRAM,
                self.folder,
                start_seconds,
                answer_seconds,
                stderr=log,
                process_group=0,
                variables={"TMPDIR": str(self.folder)},
            )

    def behave(self, how: str) -> None:
        """Say what workers do that start from now on."""
        (self.folder / "behaviour").write_text(how)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    @property
    def started(self) -> list[int]:
        """Every worker there has been, the oldest first."""
        files = sorted(self.folder.glob("*.worker"), key=lambda file: file.stat().st_mtime_ns)
        return [int(file.stem) for file in files]

    @property
    def workers(self) -> set[int]:
        """Those that live."""
        return {pid for pid in self.started if is_alive(pid)}

    def argument(self, pid: int) -> str:
        return (self.folder / f"{pid}.worker").read_text()

    @property
    def metrics_folders(self) -> list[Path]:
        return [*self.folder.glob("churn-metrics-*")]

    def wait_for_two(self, *, without: Iterable[int] = ()) -> list[int]:
        """Wait until two workers live, and have answered, that are none of these."""

        def are_there() -> bool:
            workers = self.workers
            answered = all((self.folder / f"{pid}.answered").exists() for pid in workers)
            return len(workers) == 2 and answered and not workers & {*without}

        wait_until(are_there)
        return [pid for pid in self.started if pid in self.workers]

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    running = Supervised(tmp_path)
    yield running
    with suppress(ProcessLookupError):  # the group has ended
        os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_workers_and_removes_their_metrics(supervised: Supervised, number: int) -> None:
    supervised.start()
    supervised.wait_for_two()
    assert len(supervised.metrics_folders) == 1
    assert supervised.end(number) == 0
    assert not supervised.workers
    assert not supervised.metrics_folders
    assert supervised.log == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced_and_the_other_is_left_alone(supervised: Supervised, number: int) -> None:
    supervised.start()
    first, second = supervised.wait_for_two()
    os.kill(first, number)
    assert second in supervised.wait_for_two(without=[first])
    assert f"worker {first} " in supervised.log
    assert supervised.end() == 0
    assert not supervised.metrics_folders


def test_a_stopped_worker_is_killed_and_replaced(supervised: Supervised) -> None:
    supervised.start(answer_seconds=2)
    first, second = supervised.wait_for_two()
    os.kill(second, signal.SIGSTOP)
    assert first in supervised.wait_for_two(without=[second])
    assert f"worker {second} did not answer for 2 s; starting another at once" in supervised.log
    assert supervised.end() == 0
    assert not supervised.metrics_folders


def test_workers_are_not_killed_because_all_processes_were_suspended(supervised: Supervised) -> None:
    supervised.start(answer_seconds=2)
    workers = supervised.wait_for_two()
    for pid in (supervised.process.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in (supervised.process.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    time.sleep(1)
    assert supervised.wait_for_two() == workers
    assert supervised.log == ""


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("exit", "ended with status 3"),
        ("raise", "failed: MemoryError: no room"),
        ("signal", "was killed by signal 9 (Killed)"),
        ("failed", "failed: model.onnx is damaged"),
        ("silent", "was not ready after 1 s"),
        ("unready", "was not ready after 1 s"),
    ],
)
def test_workers_that_never_start_end_the_service_with_one_line(
    supervised: Supervised, behaviour: str, reason: str
) -> None:
    supervised.behave(behaviour)
    supervised.start(start_seconds=1 if "ready after" in reason else 60)
    assert supervised.process.wait(DEADLINE) == 1
    failures = supervised.log.splitlines()
    assert re.fullmatch(
        rf"error: 5 workers in a row could not be started; the last: worker \d+ {re.escape(reason)}", failures[-1]
    )
    # Five of one place. On a busy machine those of the other may come later, so that it has had fewer by then.
    # Not those that have said they started: some are killed before they can.
    assert 5 <= len(set(re.findall(r"worker (\d+) ", supervised.log))) <= 10
    assert not supervised.workers
    assert not supervised.metrics_folders


def test_each_failure_to_start_doubles_the_wait(supervised: Supervised) -> None:
    supervised.behave("exit")
    supervised.start()
    assert supervised.process.wait(DEADLINE) == 1
    waits = Counter(re.findall(r"starting another in ([\d.]+) s", supervised.log))
    # One place has failed five times; the other may be anywhere on the same way.
    assert [*waits] == ["0.05", "0.1", "0.2", "0.4"]
    assert [*waits.values()] == sorted(waits.values(), reverse=True)
    assert {*waits.values()} <= {1, 2}


def test_a_worker_that_can_not_be_started_again_does_not_end_the_others(supervised: Supervised) -> None:
    supervised.start()
    first, second = supervised.wait_for_two()
    supervised.behave("exit")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(supervised.started) >= 2 + 6)
    assert supervised.workers >= {second}
    supervised.behave("ready")
    assert second in supervised.wait_for_two(without=[first])
    assert supervised.end() == 0


def test_sighup_restarts_one_worker_after_the_other(supervised: Supervised) -> None:
    supervised.start()
    before = supervised.wait_for_two()
    (supervised.folder / "argument").write_text("second")
    supervised.process.send_signal(signal.SIGHUP)
    fewest = 2

    def are_restarted() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(supervised.workers))
        return "all workers have been restarted" in supervised.log

    wait_until(are_restarted)
    assert fewest == 2
    after = supervised.wait_for_two(without=before)
    assert [supervised.argument(pid) for pid in after] == ["second", "second"]
    os.kill(after[0], signal.SIGKILL)
    assert {supervised.argument(pid) for pid in supervised.wait_for_two(without=after[:1])} == {"second"}
    assert supervised.end() == 0
    assert not supervised.metrics_folders


def test_a_restart_that_is_refused_or_fails_leaves_the_workers(supervised: Supervised) -> None:
    supervised.start()
    workers = supervised.wait_for_two()
    (supervised.folder / "argument").write_text("bad")
    supervised.process.send_signal(signal.SIGHUP)
    supervised.wait_for_log("the workers are not restarted: the new model is damaged")
    (supervised.folder / "argument").write_text("second")
    supervised.behave("failed")
    supervised.process.send_signal(signal.SIGHUP)
    supervised.wait_for_log("failed: model.onnx is damaged; stopping the restart")
    assert supervised.wait_for_two() == workers
    supervised.behave("ready")
    os.kill(workers[0], signal.SIGKILL)
    (new,) = {*supervised.wait_for_two(without=workers[:1])} - {workers[1]}
    assert supervised.argument(new) == "second"  # to which the workers have changed, though none was replaced
    assert supervised.end() == 0


def test_a_restart_that_is_under_way_does_not_hold_the_end_up(supervised: Supervised) -> None:
    supervised.start()
    supervised.wait_for_two()
    supervised.behave("unready")
    supervised.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(supervised.workers) == 3)
    assert supervised.end() == 0
    assert not supervised.workers


def test_workers_end_and_remove_their_metrics_when_the_parent_is_killed(supervised: Supervised) -> None:
    supervised.start()
    supervised.wait_for_two()
    assert supervised.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not supervised.workers and not supervised.metrics_folders)


def test_metrics_that_nobody_could_remove_are_removed_at_the_next_start(supervised: Supervised) -> None:
    supervised.start()
    workers = supervised.wait_for_two()
    for pid in (supervised.process.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(read_state(pid) == "T" for pid in (supervised.process.pid, *workers)), "the stop of all")
    # The workers first: if their parent ends before them, the kernel continues a group of stopped processes.
    for pid in (*workers, supervised.process.pid):
        os.kill(pid, signal.SIGKILL)
    supervised.process.wait(DEADLINE)
    (left,) = supervised.metrics_folders
    supervised.start()
    supervised.wait_for_two(without=workers)
    (own,) = supervised.metrics_folders
    assert own != left
    with share_metrics_in(supervised.folder):  # a second service leaves the first one's
        assert own.is_dir()
    assert supervised.end() == 0
    assert not supervised.metrics_folders


def test_a_stopped_worker_does_not_hold_the_end_up(supervised: Supervised) -> None:
    supervised.start(answer_seconds=2)
    first, _ = supervised.wait_for_two()
    os.kill(first, signal.SIGSTOP)
    assert supervised.end() == 0
    assert "did not answer for 2 s; killing it" in supervised.log
    assert not supervised.workers


def test_a_second_signal_kills(supervised: Supervised) -> None:
    supervised.behave("deaf")
    supervised.start()
    supervised.wait_for_two()
    supervised.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert len(supervised.workers) == 2
    assert supervised.end() == 0
    assert "second signal: killing the workers" in supervised.log
    assert not supervised.workers
    assert not supervised.metrics_folders


@contextmanager
def share_metrics_in(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        with share_metrics():
            yield
