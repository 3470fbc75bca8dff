"""Waiting for what must happen, with a deadline that only a fault reaches: no test depends on how fast it happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 120.0
"""Seconds; far more than a busy machine needs."""


def wait_until(condition: Callable[[], Any], what: str = "it", seconds: float = DEADLINE) -> None:
    """Wait until a condition is true; after `seconds` fail and say that `what` did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} seconds"
        time.sleep(0.01)
