"""Stores for services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from databases import make_empty

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of each kind, without a store."""
    return make_empty(request.param, request, tmp_path)


@pytest.fixture(params=["behind", "durable"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)
