"""Requests for changes of the models from another thread than the coordinator's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from service.rollout.messages import Change, decode_for_worker
from service.rollout.requests import ChangeRequests

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.rollout.messages import Wish


class ManagementRequests:
    """Passes requests to the coordinator, which takes it for a worker that has them, and its answers back.

    Parameters
    ----------
    wish : callable (wish, asked_by)
        Takes a request; safe to call from any thread.
    """

    is_alive = True

    def __init__(self, wish: Callable[[Wish, ManagementRequests], None]) -> None:
        self._requests = ChangeRequests(lambda wanted: wish(wanted, self))
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, wish: Wish, seconds: float) -> Change:
        """Request a change; see `ChangeRequests.ask`."""
        self._loop = asyncio.get_running_loop()
        return await self._requests.ask(wish, seconds)

    def send(self, message: bytes) -> None:
        """Take an answer of the coordinator, in its thread."""
        if self._loop is not None and isinstance(change := decode_for_worker(message), Change):
            self._loop.call_soon_threadsafe(self._requests.answer, change)

    def take_messages(self) -> list[bytes]:
        """Return nothing: requests are passed at once."""
        return []
