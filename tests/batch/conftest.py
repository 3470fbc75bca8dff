"""Fixtures for batch jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from databases import make_postgresql, make_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer


@pytest.fixture(scope="session")
def scorer(scorers: dict[str, Scorer]) -> Scorer:
    return scorers["onnx"]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return make_sqlite(tmp_path / "bank.db")
    return make_postgresql(request.getfixturevalue("server"))
