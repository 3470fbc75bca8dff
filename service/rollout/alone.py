"""Changes of the models of a service that runs in one process, without a supervisor."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from churn.errors import ChurnError
from service.rollout.coordinator import Coordinator
from service.rollout.staging import open_staging

if TYPE_CHECKING:
    from service.rollout.agent import ModelAgent
    from service.settings import Settings
    from service.state import ModelState

TICK_SECONDS = 0.1

BUSY_SECONDS = 0.01
"""Interval while a change is being made."""


class OnlyMember:
    """The only process, as its coordinator sees it.

    Parameters
    ----------
    agent : ModelAgent
    """

    is_alive = True

    def __init__(self, agent: ModelAgent) -> None:
        self._messages: deque[bytes] = deque()
        self._agent = agent
        agent.send = self._messages.append

    def send(self, message: bytes) -> None:
        """Pass a message to the agent."""
        self._agent.receive(message)

    def take_messages(self) -> list[bytes]:
        """Return the messages of the agent."""
        messages = list(self._messages)
        self._messages.clear()
        return messages


class Alone:
    """Coordinates the changes of a single process.

    Parameters
    ----------
    settings : Settings
    state : ModelState
    agent : ModelAgent
    """

    def __init__(self, settings: Settings, state: ModelState, agent: ModelAgent) -> None:
        self._settings = settings
        self._state = state
        self._agent = agent

    async def run(self) -> None:
        """Load the first model, then make changes until cancelled."""
        try:
            with open_staging(self._settings.models) as staging:
                coordinator = Coordinator(self._settings, staging, self._settings.worker_start_seconds)
                try:
                    await self._run(coordinator)
                finally:
                    coordinator.close()
        except ChurnError as error:
            self._agent.fail(str(error))

    async def _run(self, coordinator: Coordinator) -> None:
        member = OnlyMember(self._agent)
        starting: asyncio.Task[None] | None = None
        try:
            lineup = await asyncio.to_thread(coordinator.open)
        except ChurnError as error:
            self._agent.fail(str(error))
            coordinator.admit(member)  # a later version may be served instead
        else:
            starting = asyncio.create_task(self._agent.start(lineup))
        try:
            while True:
                coordinator.tick([member])
                if starting is not None and starting.done():
                    starting.result()
                    starting = None
                    if self._state.model is None:  # a later version, or the same one repaired, may be served instead
                        coordinator.lineup = None
                        coordinator.admit(member)
                await asyncio.sleep(TICK_SECONDS if coordinator.is_idle and starting is None else BUSY_SECONDS)
        finally:
            if starting is not None:
                starting.cancel()
                with suppress(asyncio.CancelledError):
                    await starting
