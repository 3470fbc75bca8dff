"""What a person reads who made a mistake: one message with the name of what is wrong and the way on, no traceback."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import pytest
from bank import draw_customers, write_csv
from tampering import contents, forge_manifest

from churn.registry import Registry
from cli.extras import require_extra

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["probability", "row", "Customer\nId", "x" * 64])
@pytest.mark.parametrize("stream", ["--in-memory", "--stream"])
def test_an_identifier_that_can_not_be_served_is_refused_before_training(
    churn: Any, tmp_path: Path, name: str, stream: str
) -> None:
    path = write_csv(tmp_path / "bank.csv", draw_customers(200).rename(columns={"CustomerId": name}))
    answer = churn("train", path, "--models", tmp_path / "models", "--id", name, stream)
    assert answer.code == 1
    assert "the identifier can't be named" in answer.err
    assert "name another one with --id" in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "models").exists()


def test_a_folder_that_can_not_take_the_model_is_refused_before_the_table_is_read(churn: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = churn("train", tmp_path / "none.csv", "--models", tmp_path / "file" / "models")
    assert answer.code == 1
    assert "models: no version can be published there" in answer.err


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        (["simulate", "new.csv"], "tqdm", "train"),
        (["score", "bank.csv", "--output", "scores.csv"], "tqdm", "batch"),
    ],
)
def test_a_missing_package_is_named_with_what_to_install(
    churn: Any, monkeypatch: pytest.MonkeyPatch, command: list[str], package: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    answer = churn(*command)
    assert answer.code == 1
    assert answer.err == f"error: {package} is not installed: pip install 'churn[{extra}]'\n"


def test_a_missing_module_of_ours_is_a_fault_that_no_installation_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "training.dataset", None)
    with pytest.raises(ModuleNotFoundError), require_extra("train"):
        importlib.import_module("training.dataset")


def test_numbers_become_a_category_if_asked(churn: Any, tmp_path: Path) -> None:
    table = draw_customers(200).assign(branch_id=[row % 4 for row in range(200)])
    path, schema = write_csv(tmp_path / "bank.csv", table), tmp_path / "schema.toml"
    told = churn("train", path, "--write-schema", schema).out
    assert "branch_id is taken for a number to learn from, although its name is that of a key" in told
    assert "--drop branch_id" in told
    answer = churn("train", path, "--write-schema", schema, "--category", "branch_id")
    assert "branch_id        category  one of 0, 1, 2, 3" in answer.out
    refused = churn("train", path, "--schema", schema, "--category", "branch_id")
    assert refused.code == 2
    assert "--category" in refused.err


@pytest.mark.parametrize("command", ["verify", "promote"])
def test_a_version_that_can_not_be_served_is_refused(churn: Any, own_models: Path, command: str) -> None:
    Registry(own_models).promote(1)
    forge_manifest(own_models / "1", lambda content: content["schema"].update(identifier="probability"))
    before = contents(own_models)
    answer = churn("models", command, 1, "--models", own_models)
    assert answer.code == 1
    assert "the identifier can't be named 'probability'" in answer.err
    assert "Traceback" not in answer.err
    assert contents(own_models) == before


@pytest.mark.parametrize("command", ["verify", "promote"])
def test_a_version_is_loaded_as_the_service_loads_it(
    churn: Any, own_models: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn.errors import BundleError

    def refuse(*_: object) -> None:
        raise BundleError("no answer can be made of it")

    monkeypatch.setattr("service.predict.served_model.AnswerEncoder", refuse)
    answer = churn("models", command, 1, "--models", own_models)
    assert answer.code == 1
    assert "no answer can be made of it" in answer.err


@pytest.mark.parametrize("output", ["scores.csv", "-"])
def test_row_numbers_are_told(churn: Any, models: Path, tmp_path: Path, output: str) -> None:
    table = draw_customers(5).rename(columns={"CustomerId": "CustomerID"})
    source = write_csv(tmp_path / "customers.csv", table)
    where = output if output == "-" else tmp_path / output
    answer = churn("score", source, "--output", where, "--models", models, "--engine", "onnx")
    assert answer.code == 0
    assert f"note: {source} has no column CustomerId: " in answer.err
    assert "Is it CustomerID? Then rename that column." in answer.err
    scores = answer.out if output == "-" else (tmp_path / output).read_text(encoding="utf-8")
    assert scores.splitlines()[0].replace('"', "") == "row,probability,churn,model_version"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("CHURN_ENGINE", "gpu", "error: CHURN_ENGINE='gpu' can't be used; allowed: auto, onnx, tensorflow\n"),
        ("CHURN_MODELS", __file__, f"error: CHURN_MODELS='{__file__}' can't be used; "),
    ],
)
def test_a_wrong_variable_is_one_line(
    churn: Any, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    answer = churn("models", "verify")
    assert answer.code == 2
    assert answer.err.startswith(says)
    assert answer.err.count("\n") == 1


def test_variables_in_any_case_and_empty_ones_are_taken(
    churn: Any, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_MODELS", str(models))
    for value in ("ONNX", ""):
        monkeypatch.setenv("CHURN_ENGINE", value)
        assert churn("models", "verify").code == 0
