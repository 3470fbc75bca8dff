from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundles import publish

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    publish(root)
    return root
