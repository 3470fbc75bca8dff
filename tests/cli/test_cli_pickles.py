"""No command opens `preprocessor.joblib`, a pickle, which could run any code."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from every_command import COMMANDS
from starlette.testclient import TestClient
from tampering import forge_manifest, mark_pickle
from waiting import wait_until

from churn.registry import Registry
from churn.trust.keys import write_key_pair
from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was opened"


@pytest.fixture
def marked_models(own_models: Path, marker: Path) -> Path:
    """Two versions with valid manifests, and pickles that leave a mark when they are opened."""
    mark_pickle(own_models / "1", marker)

    def write(folder: Path, version: int) -> None:
        shutil.copytree(own_models / "1", folder, dirs_exist_ok=True)
        forge_manifest(folder, lambda content: content.update(version=version))

    Registry(own_models).publish(write)
    return own_models


def test_the_mark_is_left_when_the_pickle_is_opened(marked_models: Path, marker: Path) -> None:
    pickle.loads((marked_models / "2" / "preprocessor.joblib").read_bytes())  # noqa: S301  our own
    assert marker.exists()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "churn serve"])
@pytest.mark.usefixtures("quick")
def test_no_command_opens_the_pickle(
    churn: Any, command_lines: Any, marked_models: Path, marker: Path, tmp_path: Path, command: str
) -> None:
    lines = command_lines(marked_models)
    if command == "churn models sign":
        write_key_pair(tmp_path / "key.pem")
    for arguments in lines[command]:
        answer = churn(*arguments)
        assert answer.code == 0, answer.err
        assert not marker.exists(), arguments


def test_a_warm_start_of_the_reference_does_not_open_the_pickle(
    churn: Any, marker: Path, bank_csv: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    arguments = ("train", bank_csv, "--models", models, "--network", "reference")
    assert churn(*arguments).code == 0
    mark_pickle(models / "1", marker)
    answer = churn(*arguments, "--warm-start", 1)
    assert (answer.code, (models / "2").is_dir()) == (0, True), answer.err
    assert not marker.exists()


@pytest.mark.parametrize("engine", ["onnx", "tensorflow"])
def test_serving_does_not_open_the_pickle(marked_models: Path, marker: Path, engine: Any) -> None:
    with TestClient(create_app(Settings(models=marked_models, engine=engine))) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
    assert not marker.exists()
