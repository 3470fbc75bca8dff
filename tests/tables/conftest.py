from __future__ import annotations

from typing import TYPE_CHECKING

import bundles
import pytest
from running import start
from ways import CUSTOMER, SCHEMA

from churn.scorer import Scorer, load_scorer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient


@pytest.fixture(scope="session")
def parity_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parity")
    bundles.publish(root, SCHEMA, CUSTOMER)
    return root


@pytest.fixture(scope="session")
def scorer(parity_models: Path) -> Scorer:
    return load_scorer(parity_models / "1", "onnx")


@pytest.fixture(scope="module")
def client(parity_models: Path) -> Iterator[TestClient]:
    with start(parity_models) as client:
        yield client
