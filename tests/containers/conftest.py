from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from bank import REPOSITORY

sys.path.insert(0, str(Path(__file__).parent))  # for `engine`
from engine import Engine, find_engine

DECOYS = [".env", "secret.pem", "Churn_Modelling.csv", "data/customers.csv", "service/.token", "models/.secret",
    "churn/__pycache__/old.pyc", "requirements/.netrc"]  # fmt: skip
"""Files that may lie in a checkout and belong in no image."""


@pytest.fixture(scope="session")
def engine() -> Engine:
    found, reason = find_engine()
    if found is None:
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which lies what must not be copied."""
    folder = tmp_path_factory.mktemp("context") / "churn"
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__"))
    for name in DECOYS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("decoy")
    return folder


@pytest.fixture(scope="session")
def images(engine: Engine, context: Path) -> dict[str, str]:
    """The targets that need no GPU, built: target to tag. CHURN_TEST_TARGETS may name fewer."""
    targets = os.environ.get("CHURN_TEST_TARGETS", "cpu batch train").split()
    return {target: engine.build(context, target, f"localhost/churn-test:{target}") for target in targets}
