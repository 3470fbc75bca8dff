"""Work that may wait a moment, done once for all that came meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DELAY_SECONDS = 0.1
"""How long what is gathered may wait."""

PATIENCE_SECONDS = 0.02
"""How much longer it waits for a request, behind whose answer it would not be noticed."""


class Soon:
    """Calls a function `DELAY_SECONDS` after it was first asked to. Belongs to the event loop's thread.

    Clients that send at a steady pace would find the work under way at their very next request, each time. So the
    work is done behind the answer to it, when that client is least likely to send another.

    Parameters
    ----------
    work : callable
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._is_due = self._is_overdue = False

    def ask(self) -> None:
        """See that the function is called."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self._wait)
        elif self._is_overdue:
            self._is_overdue = False
            asyncio.get_running_loop().call_soon(self._call)

    def _wait(self) -> None:
        self._is_overdue = True
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self._is_overdue:
            self._is_overdue = False
            self._call()

    def _call(self) -> None:
        self._is_due = False
        self._work()
