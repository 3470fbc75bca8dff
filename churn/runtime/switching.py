"""Let threads that wait for the interpreter have it sooner."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter from the event loop, instead of Python's 5 ms. The loop gives the
interpreter up at every system call, so that each of them would take that long."""

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
