"""Deferred calls, which combine several requests for the same work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DELAY_SECONDS = 0.1
"""Delay before the call."""

GRACE_SECONDS = 0.02
"""Additional time to wait for the next request, directly after whose response the call is made."""


class DeferredCall:
    """Calls a function once, `DELAY_SECONDS` or more after it was scheduled. Not thread-safe: use it in the event loop.

    With clients that send at a constant rate, a fixed delay could make the same client wait for the call every time.
    The call is therefore made directly after the next response, or after `GRACE_SECONDS` without a request.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._is_due = self._is_overdue = False

    def schedule(self) -> None:
        """Schedule the call, unless it is scheduled already."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self._begin_grace)
        elif self._is_overdue:
            self._is_overdue = False
            asyncio.get_running_loop().call_soon(self._call)

    def _begin_grace(self) -> None:
        self._is_overdue = True
        asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_grace)

    def _end_grace(self) -> None:
        if self._is_overdue:
            self._is_overdue = False
            self._call()

    def _call(self) -> None:
        self._is_due = False
        self._function()
