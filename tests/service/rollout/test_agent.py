"""A worker's part in the changes of models, without a model."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service.observe.metrics import Metrics
from service.rollout import agent
from service.rollout.agent import ModelAgent
from service.rollout.messages import Admit, Change, Lineup, Staged, encode
from service.settings import Settings
from service.state import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

LINEUP = Lineup(Staged(1, "0" * 64, "/nowhere/1"))


def test_a_change_reported_directly_after_the_admission_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    state = ModelState(metrics)
    worker = ModelAgent(Settings(), state, metrics)

    async def load(_: Lineup) -> dict[str, Any]:
        return {}

    async def run() -> None:
        starting = asyncio.create_task(worker.start(LINEUP))
        await asyncio.sleep(0)  # it waits for the admission now
        worker.receive(encode(Admit(LINEUP)))
        worker.receive(encode(Change("failed", "canary", "5", "no such version")))
        await starting

    monkeypatch.setattr(worker, "_load", load)
    monkeypatch.setattr(worker, "_serve", lambda *_: None)
    asyncio.run(run())
    assert state.last_change is not None
    assert state.last_change.reason == "no such version"


def test_a_model_is_loaded_with_pauses_only_while_another_one_is_served(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    state = ModelState(metrics)
    loader = ModelAgent(Settings(engine="onnx"), state, metrics)
    paced: list[str] = []

    @contextmanager
    def note() -> Iterator[None]:
        paced.append("begun")
        yield
        paced.append("ended")

    monkeypatch.setattr(agent, "pace", note)
    staged = Staged(1, "0" * 64, str(models / "1"))
    state.model = loader._load_one(staged)
    assert paced == []
    loader._load_one(staged)
    assert paced == ["begun", "ended"]
