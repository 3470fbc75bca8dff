"""Gathers what is cheaper to work on together than one by one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

GATHERED = 256
"""How many are worked on at once, at most."""

GATHER_SECONDS = 0.1
"""How long one may wait, at most."""


class Gatherer(Generic[T]):
    """Hands items on in lists. Belongs to the event loop's thread.

    Parameters
    ----------
    work : callable
        Called with the items, in order.
    """

    def __init__(self, work: Callable[[list[T]], None]) -> None:
        self._work = work
        self._items: list[T] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T) -> None:
        """Take an item; hand all on if they are many, else within `GATHER_SECONDS`."""
        self._items.append(item)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._expire)
        elif len(self._items) >= GATHERED:
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self._items:
            items, self._items = self._items, []
            self._work(items)

    def _expire(self) -> None:
        self._timer = None
        self.flush()
