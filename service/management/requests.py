"""Requests for changes of the models from another thread than the coordinator's."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from service.rollout.messages import Change, decode_for_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.rollout.messages import Wish


class ChangeRequests:
    """Passes requests to the coordinator, and its answers back.

    Parameters
    ----------
    wish : callable (wish, asked_by)
        Takes a request; safe to call from any thread.
    """

    is_alive = True

    def __init__(self, wish: Callable[[Wish, ChangeRequests], None]) -> None:
        self._wish = wish
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Change]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, wish: Wish, seconds: float) -> Change:
        """Request a change, and wait until it has been made or has failed.

        Raises
        ------
        TimeoutError
            If it takes longer than `seconds`; it may still be made.
        """
        self._loop = asyncio.get_running_loop()
        number = next(self._numbers)
        future = self._waiting[number] = self._loop.create_future()
        self._wish(msgspec.structs.replace(wish, number=number), self)
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            del self._waiting[number]

    def send(self, message: bytes) -> None:
        """Take an answer of the coordinator, in its thread."""
        if self._loop is not None and isinstance(change := decode_for_worker(message), Change):
            self._loop.call_soon_threadsafe(self._answer, change)

    def take_messages(self) -> list[bytes]:
        """Return nothing: requests are passed at once."""
        return []

    def _answer(self, change: Change) -> None:
        future = self._waiting.get(change.number)
        if future is not None and not future.done():
            future.set_result(change)
