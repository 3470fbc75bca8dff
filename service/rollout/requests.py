"""Requests for changes of the models, and their answers."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.rollout.messages import Change, Wish


class ChangeRequests:
    """Requests of one event loop that wait for the coordinator's answer.

    Parameters
    ----------
    send : callable
        Passes a request to the coordinator, with a number that its answer repeats.
    """

    def __init__(self, send: Callable[[Wish], None]) -> None:
        self._send = send
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Change]] = {}

    async def ask(self, wish: Wish, seconds: float) -> Change:
        """Request a change, and wait until it has been made or has failed.

        Raises
        ------
        TimeoutError
            If it takes longer than `seconds`; it may still be made.
        """
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(msgspec.structs.replace(wish, number=number))
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            del self._waiting[number]

    def answer(self, change: Change) -> None:
        """Give the request that a change answers its answer, if it still waits; called in the event loop."""
        future = self._waiting.get(change.number)
        if future is not None and not future.done():
            future.set_result(change)
