"""Let the event loop run while another thread computes: have threads give the interpreter up sooner, and pause."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter from the event loop, instead of Python's 5 ms. The loop gives the
interpreter up at every system call, so that each of them would take that long."""

WORK_SECONDS = 0.0005
"""After how long a thread that paces itself pauses."""

PAUSE_SECONDS = 0.003
"""For how long. An event loop that always has work keeps most of its time then; without pauses it keeps less than half,
and what arrives meanwhile waits."""

CALLS = 16
"""Number of calls of functions between two looks at the clock."""

_lock = threading.Lock()
_users = 0
_before = 0.0


@contextmanager
def yield_often() -> Iterator[None]:
    """Let the event loop run at once whenever it can, while another thread computes; several threads may use it."""
    global _users, _before
    with _lock:
        if not _users:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_SECONDS)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                sys.setswitchinterval(_before)


@contextmanager
def pace() -> Iterator[None]:
    """Pause this thread again and again while it calls functions, of whatever library, so that it takes longer.

    The profiler of the interpreter is used for it, as it is called for each of them; another one is restored after the
    block.
    """
    calls, since = 0, perf_counter()

    def look(_frame: FrameType, _event: str, _argument: Any) -> None:  # noqa: ANN401  the interpreter's
        nonlocal calls, since
        calls += 1
        if calls >= CALLS:
            calls = 0
            if perf_counter() - since > WORK_SECONDS:
                sleep(PAUSE_SECONDS)
                since = perf_counter()

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
