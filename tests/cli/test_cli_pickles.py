"""No command opens `preprocessor.joblib`, a pickle, which could run any code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tampering import forge_manifest
from waiting import wait_until

from service.app import create_app
from service.settings import Settings


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was opened"


@pytest.fixture
def marked_models(own_models: Path, marker: Path) -> Path:
    """The models, with a valid manifest, and a pickle that leaves a mark when it is opened."""
    (own_models / "1" / "preprocessor.joblib").write_bytes(pickle.dumps(Marker(marker)))
    forge_manifest(own_models / "1", lambda _: None)
    return own_models


def test_the_mark_is_left_when_the_pickle_is_opened(marked_models: Path, marker: Path) -> None:
    pickle.loads((marked_models / "1" / "preprocessor.joblib").read_bytes())  # noqa: S301  our own
    assert marker.exists()


@pytest.mark.parametrize(
    "command",
    ["list", "show", "verify", "promote", "rollback", "score", "score tensorflow", "evaluate", "train", "tune"],
)
@pytest.mark.usefixtures("quick")
def test_no_command_opens_the_pickle(
    churn: Any, marked_models: Path, marker: Path, bank_csv: Path, tmp_path: Path, command: str
) -> None:
    output = tmp_path / "scores.csv"
    arguments: dict[str, tuple[object, ...]] = {
        "list": ("models", "list", "--models", marked_models),
        "show": ("models", "show", "--models", marked_models),
        "verify": ("models", "verify", "1", "--models", marked_models),
        "promote": ("models", "promote", "1", "--models", marked_models),
        "rollback": ("models", "rollback", "--models", marked_models),
        "score": ("score", bank_csv, "--output", output, "--models", marked_models),
        "score tensorflow": (
            "score",
            bank_csv,
            "--output",
            output,
            "--models",
            marked_models,
            "--engine",
            "tensorflow",
        ),
        "evaluate": ("evaluate", bank_csv, "--models", marked_models, "--report", tmp_path / "report.html"),
        "train": ("train", bank_csv, "--models", marked_models, "--warm-start", 1),
        "tune": ("tune", bank_csv, "--output", tmp_path / "tuned.toml", "--trials", 1),
    }
    answer = churn(*arguments[command])
    assert answer.code == (1 if command == "rollback" else 0), answer.err  # there is no earlier version
    assert not marker.exists()


def test_a_warm_start_of_the_reference_does_not_open_the_pickle(
    churn: Any, marker: Path, bank_csv: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    arguments = ("train", bank_csv, "--models", models, "--network", "reference")
    assert churn(*arguments).code == 0
    (models / "1" / "preprocessor.joblib").write_bytes(pickle.dumps(Marker(marker)))
    forge_manifest(models / "1", lambda _: None)
    answer = churn(*arguments, "--warm-start", 1)
    assert (answer.code, (models / "2").is_dir()) == (0, True), answer.err
    assert not marker.exists()


@pytest.mark.parametrize("engine", ["onnx", "tensorflow"])
def test_serving_does_not_open_the_pickle(marked_models: Path, marker: Path, engine: Any) -> None:
    with TestClient(create_app(Settings(models=marked_models, engine=engine))) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
    assert not marker.exists()
