from __future__ import annotations

import sys
import threading

import pytest

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
