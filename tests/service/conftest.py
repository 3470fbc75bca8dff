from __future__ import annotations

from typing import TYPE_CHECKING

import bundles
import pytest
from running import start
from waiting import DEADLINE

from service.keeping import dispatch, durable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a service in this process wait for its store of records for as long as a busy machine may need."""
    monkeypatch.setattr(dispatch, "START_SECONDS", DEADLINE)
    monkeypatch.setattr(dispatch, "CLOSE_SECONDS", DEADLINE)
    monkeypatch.setattr(durable, "ANSWER_SECONDS", DEADLINE)


@pytest.fixture(scope="session")
def bank_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bank")
    bundles.publish(root, background=6)
    return root


@pytest.fixture(scope="session")
def odd_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    bundles.publish(root, bundles.ODD)
    return root


@pytest.fixture(scope="module")
def client(bank_models: Path) -> Iterator[TestClient]:
    with start(bank_models) as client:
        yield client


@pytest.fixture(scope="module")
def odd_client(odd_models: Path) -> Iterator[TestClient]:
    with start(odd_models) as client:
        yield client
