"""Stores of both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from databases import make_empty

from records.store import RecordStore, open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind, without a store."""
    return make_empty(request.param, request, tmp_path)


@pytest.fixture
def store(url: str) -> RecordStore:
    """An empty store in a database of each kind."""
    return open_store(url, create=True)
