"""Work that may wait a moment, done once for all that came meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DELAY_SECONDS = 0.1


class Soon:
    """Calls a function `DELAY_SECONDS` after it was first asked to. Belongs to the event loop's thread.

    Parameters
    ----------
    work : callable
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._is_due = False

    def ask(self) -> None:
        """See that the function is called."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self._call)

    def _call(self) -> None:
        self._is_due = False
        self._work()
