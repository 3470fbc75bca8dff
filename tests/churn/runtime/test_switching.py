from __future__ import annotations

import sys
import threading

import pytest

from churn.runtime import switching
from churn.runtime.switching import SWITCH_SECONDS, yield_often


def test_threads_switch_sooner_until_the_last_user_has_ended() -> None:
    before = sys.getswitchinterval()
    inside, leave = threading.Event(), threading.Event()

    def use() -> None:
        with yield_often():
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=use)
    with yield_often():
        other.start()
        assert inside.wait(60)
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    leave.set()
    other.join()
    assert sys.getswitchinterval() == pytest.approx(before)


def test_a_thread_pauses_while_it_calls_functions_and_not_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    pauses: list[float] = []
    monkeypatch.setattr(switching, "perf_counter", lambda: now[0])
    monkeypatch.setattr(switching, "sleep", pauses.append)

    def work(seconds: float, calls: int = switching.CALLS) -> None:
        now[0] += seconds
        for _ in range(calls):
            abs(-1)

    before = sys.getprofile()
    with switching.pace():
        work(switching.WORK_SECONDS / 2)
        assert pauses == []
        work(switching.WORK_SECONDS)
        work(switching.WORK_SECONDS / 2)
        assert pauses == [switching.PAUSE_SECONDS]
        work(switching.WORK_SECONDS)
        assert pauses == [switching.PAUSE_SECONDS] * 2
    work(switching.WORK_SECONDS * 10)
    assert pauses == [switching.PAUSE_SECONDS] * 2
    assert sys.getprofile() is before


def test_another_profiler_is_back_after_the_block_even_after_an_error() -> None:
    def watch(*_: object) -> None:
        """Be a profiler."""

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        with pytest.raises(ValueError, match="x"), switching.pace():
            raise ValueError("x")
        assert sys.getprofile() is watch
    finally:
        sys.setprofile(before)
