"""A worker's part in the changes of models, without a model."""

import asyncio
from typing import Any

import pytest

from service.observe.metrics import Metrics
from service.rollout.agent import ModelAgent
from service.rollout.messages import Admit, Change, Lineup, Staged, encode
from service.settings import Settings
from service.state import ModelState

LINEUP = Lineup(Staged(1, "0" * 64, "/nowhere/1"))


def test_a_change_reported_directly_after_the_admission_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    state = ModelState(metrics)
    agent = ModelAgent(Settings(), state, metrics)

    async def load(_: Lineup) -> dict[str, Any]:
        return {}

    async def run() -> None:
        starting = asyncio.create_task(agent.start(LINEUP))
        await asyncio.sleep(0)  # it waits for the admission now
        agent.receive(encode(Admit(LINEUP)))
        agent.receive(encode(Change("failed", "canary", "5", "no such version")))
        await starting

    monkeypatch.setattr(agent, "_load", load)
    monkeypatch.setattr(agent, "_serve", lambda *_: None)
    asyncio.run(run())
    assert state.last_change is not None
    assert state.last_change.reason == "no such version"
