from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from processes import start_python
from tampering import contents, flip_byte, forge_manifest

from churn.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


def test_the_versions_are_listed_with_a_star_at_the_one_being_served(churn: Any, two_models: Path) -> None:
    answer = churn("models", "list", "--models", two_models)
    header, first, second = answer.out.splitlines()
    assert header.split() == [
        "version",
        "created",
        "network",
        "test",
        "log",
        "loss",
        "test",
        "AUC",
        "signed",
        "by",
        "data",
    ]
    assert first.split()[0] == "1"
    assert second.split()[:2] == ["*", "2"]
    assert "default" in second
    assert second.endswith("bank.csv")
    assert (answer.code, answer.err) == (0, "")


def test_a_damaged_version_is_listed_as_refused(churn: Any, two_models: Path) -> None:
    flip_byte(two_models / "1" / "model.onnx", 9)
    answer = churn("models", "list", "--models", two_models)
    assert f"1  unusable: {two_models}/1/model.onnx: SHA-256 differs" in answer.out
    assert answer.code == 0


def test_a_version_trained_on_everything_is_listed_without_test_scores(churn: Any, own_models: Path) -> None:
    forge_manifest(own_models / "1", lambda content: content["metrics"].pop("test"))
    (own_models / "current").unlink()
    line = churn("models", "list", "--models", own_models).out.splitlines()[1]
    assert line.split()[-4:] == ["-", "-", "-", "bank.csv"]
    assert not line.startswith("*")


def test_a_version_is_shown_as_json_without_its_long_parts(churn: Any, two_models: Path) -> None:
    shown = json.loads(churn("models", "show", "--models", two_models).out)
    assert shown["version"] == 2
    assert shown["schema"]["label"] == "Exited"
    assert not {"preprocessing", "histograms", "golden"} & set(shown)
    assert json.loads(churn("models", "show", "1", "--models", two_models).out)["version"] == 1


def test_promote_and_rollback_change_the_version_being_served(churn: Any, two_models: Path) -> None:
    assert churn("models", "promote", 1, "--models", two_models).out == "version 1 is current\n"
    assert Registry(two_models).current() == 1
    assert churn("models", "rollback", "--models", two_models).out == "version 2 is current again\n"
    assert Registry(two_models).current() == 2


def test_a_damaged_version_is_not_promoted(churn: Any, two_models: Path) -> None:
    flip_byte(two_models / "1" / "report.html", 0)
    before = contents(two_models)
    answer = churn("models", "promote", 1, "--models", two_models)
    assert answer.code == 1
    assert answer.err.startswith(f"error: {two_models}/1/report.html: SHA-256 differs")
    assert contents(two_models) == before


def test_a_damaged_version_is_not_returned_to(churn: Any, two_models: Path) -> None:
    churn("models", "promote", 1, "--models", two_models)
    flip_byte(two_models / "2" / "report.html", 0)
    before = contents(two_models)
    answer = churn("models", "rollback", "--models", two_models)
    assert answer.code == 1
    assert answer.err.startswith(f"error: {two_models}/2/report.html: SHA-256 differs")
    assert contents(two_models) == before


@pytest.mark.parametrize("engine", ["onnx", "tensorflow"])
def test_verify_says_that_every_version_is_as_written(churn: Any, two_models: Path, engine: str) -> None:
    answer = churn("models", "verify", "--models", two_models, "--engine", engine)
    assert answer.out == "".join(
        f"version {version}: all files match their hashes, 32 golden rows match ({engine})\n" for version in (1, 2)
    )
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize(
    "name", ["manifest.json", "model.keras", "model.onnx", "preprocessor.joblib", "report.html", "model_card.md"]
)
def test_verify_refuses_one_flipped_byte_and_names_the_file(churn: Any, two_models: Path, name: str) -> None:
    flip_byte(two_models / "2" / name, -2)
    answer = churn("models", "verify", "--models", two_models)
    assert answer.code == 1
    assert answer.out.startswith("version 1: all files match their hashes")
    refused, error = answer.err.splitlines()
    assert refused.startswith(f"version 2: failed: {two_models}/2/{name}: SHA-256 differs")
    assert error == f"error: {two_models}: 1 of 2 versions failed verification"
    assert churn("models", "verify", 1, "--models", two_models).code == 0


@pytest.mark.parametrize("command", [("list",), ("verify",)])
def test_without_models_there_is_nothing_to_list(churn: Any, tmp_path: Path, command: tuple[str, ...]) -> None:
    answer = churn("models", *command, "--models", tmp_path)
    assert (answer.code, answer.err) == (1, f"error: {tmp_path}: there is no model\n")


@pytest.mark.parametrize("command", [("show",), ("show", "3"), ("promote", "3"), ("rollback",), ("verify", "3")])
def test_a_version_that_is_not_there_is_refused_in_one_message(
    churn: Any, tmp_path: Path, command: tuple[str, ...]
) -> None:
    answer = churn("models", *command, "--models", tmp_path)
    assert answer.code == 1
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert "error: " in answer.err


def test_the_folder_of_models_may_come_from_the_environment(
    churn: Any, two_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_MODELS", str(two_models))
    monkeypatch.setenv("CHURN_ENGINE", "tensorflow")
    assert churn("models", "verify", 2).out.endswith("(tensorflow)\n")


def test_a_reader_that_has_seen_enough_is_no_error(two_models: Path) -> None:
    code = "from cli.main import main; main()"
    process = start_python(
        "-c", code, "models", "show", "--models", two_models,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, variables={"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 1
