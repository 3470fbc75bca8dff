from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bank import draw_customers, write_csv
from tampering import contents

from churn.bundle import read_bundle
from churn.registry import Registry
from training.schema_file import read_schema

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("quick", "without_pictures")


@pytest.mark.slow
def test_training_prints_what_it_took_the_columns_for_and_how_good_it_became(
    churn: Any, bank_csv: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    answer = churn("train", bank_csv, "--models", models, "--seed", 3)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("bank.csv: 1,000 customers, ")
    assert "left (label Exited, identifier CustomerId)" in answer.out
    assert "Geography        category  one of France, Germany, Spain, or null\n" in answer.out
    assert "Age              integer   a whole number from 0 to 130, seen 18 to 79\n" in answer.out
    assert "  Surname is dropped: it has " in answer.out
    assert "  Missing values are imputed and marked, in " in answer.out
    content = read_bundle(models / "1").manifest.content
    for name in ("log_loss", "roc_auc", "average_precision", "accuracy", "brier_score"):
        numbers = [f"{content['metrics'][part][name]:.4f}" for part in ("train", "validation", "test")]
        assert [name.replace("_", " "), *numbers] in [
            [line[:18].strip(), *line[18:].split()] for line in answer.out.splitlines()
        ]
    (kept, alarmed), (missed, caught) = content["metrics"]["test"]["confusion_matrix"]
    stayed, left = kept + alarmed, missed + caught
    words = f"test: {caught} of {left} leavers found; {alarmed} of {stayed} stayers predicted to leave\n"
    assert words in answer.out
    assert answer.out.endswith(f"\npublished version 1 in {models}/1 and made it current\n")
    assert content["command"] == f"churn train {bank_csv} --models {models} --seed 3"
    assert content["seed"] == 3


@pytest.mark.parametrize(("size", "folds"), [(0.01, 100), (0.5, 2), (0.2, 5)])
def test_the_validation_size_says_how_many_folds_there_are(
    churn: Any, bank_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: float, folds: int
) -> None:
    from churn.errors import ChurnError
    from training import job

    told = []

    def train(dataset: Any, models: Any, options: Any, *more: Any) -> None:
        told.append((options.config.folds, options.config.epochs))
        raise ChurnError(f"{dataset.source['file']} {models} {more}")

    monkeypatch.setattr(job, "train", train)
    config = tmp_path / "network.toml"
    config.write_text("[network]\nepochs = 7\n")
    assert churn("train", bank_csv, "--validation-size", size, "--config", config).code == 1
    assert told == [(folds, 7)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--best",), "--best and --minutes go together"),
        (("--minutes", 5), "--best and --minutes go together"),
        (("--best", "--minutes", 5, "--quick"), "--best can't be combined with --quick or --warm-start"),
        (("--best", "--minutes", 5, "--warm-start", 1), "--best can't be combined with --quick or --warm-start"),
        (("--quick", "--network", "reference"), "--quick needs the default network, not --network reference"),
        (("--budget", 20, "--network", "reference"), "--budget needs the default network, not --network reference"),
        (("--budget", 1), "is not in the range"),
        (("--best", "--minutes", 0), "is not in the range"),
    ],
)
def test_options_of_the_effort_that_contradict_each_other_are_refused(
    churn: Any, bank_csv: Path, options: Any, says: str
) -> None:
    answer = churn("train", bank_csv, *options)
    assert answer.code == 2
    assert says in answer.err


def test_quick_and_the_budget_shape_the_configuration(
    churn: Any, bank_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn.errors import ChurnError
    from training import job
    from training.default.config import Config
    from training.default.presets import make_quick

    told = []

    def train(_: Any, __: Any, options: Any, *___: Any) -> None:
        told.append(options)
        raise ChurnError("seen")

    monkeypatch.setattr(job, "train", train)
    for options in (("--quick",), ("--budget", 30), ("--best", "--minutes", 2)):
        assert churn("train", bank_csv, *options).code == 1
    assert [options.config for options in told] == [make_quick(Config()), replace(Config(), budget=30.0), Config()]
    assert [options.minutes for options in told] == [None, None, 2]


def test_a_configuration_is_refused_where_nothing_can_be_turned_and_where_it_is_wrong(
    churn: Any, bank_csv: Path, tmp_path: Path
) -> None:
    config = tmp_path / "network.toml"
    config.write_text("[network]\nwidth = 3\n")
    answer = churn("train", bank_csv, "--network", "reference", "--config", config)
    assert answer.code == 2
    assert "--config needs the default network, not --network reference" in answer.err
    answer = churn("train", bank_csv, "--models", tmp_path / "models", "--config", config)
    assert answer.code == 1
    assert answer.err.startswith(f"error: {config}: unknown: width; known: folds, doubt, tree_depths, ")
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_the_reference_network_prints_what_the_tutorial_prints(churn: Any, bank_csv: Path, tmp_path: Path) -> None:
    answer = churn("train", bank_csv, "--models", tmp_path / "models", "--network", "reference")
    assert answer.code == 0
    assert "as printed by the tutorial, which reports an accuracy of 85.8 %:\nloss 0." in answer.out
    assert "the tutorial's customer leaves with probability 0." in answer.out


@pytest.mark.slow
def test_a_version_may_be_trained_without_being_served(churn: Any, own_models: Path, bank_csv: Path) -> None:
    answer = churn("train", bank_csv, "--models", own_models, "--no-promote", "--warm-start", 1, "--test-size", 0)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.endswith(f"\npublished version 2 in {own_models}/2\n")
    assert Registry(own_models).current() == 1
    assert "test" not in read_bundle(own_models / "2").manifest.content["metrics"]


def test_a_warm_start_from_another_schema_is_refused_and_nothing_is_published(
    churn: Any, own_models: Path, tmp_path: Path
) -> None:
    before = contents(own_models)
    table = write_csv(tmp_path / "bank.csv", draw_customers(300))
    answer = churn("train", table, "--models", own_models, "--warm-start", 1)
    assert answer.code == 1
    assert answer.err.startswith(f"error: {own_models}/1: no warm start: its columns")
    assert contents(own_models) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:0], "it is empty, without a header"),
        (lambda text: text.replace("Female", "?", 1), "column Gender: '?' is an unknown category"),
        (lambda text: text.replace("Gender", "Age", 1), "columns occur twice: Age"),
    ],
)
def test_a_table_that_can_not_be_used_is_refused_in_one_message(
    churn: Any, bank_csv: Path, tmp_path: Path, change: Any, says: str
) -> None:
    path = tmp_path / "dirty.csv"
    path.write_text(change(bank_csv.read_text()))
    answer = churn("train", path, "--models", tmp_path / "models")
    assert answer.code == 1
    assert answer.err.startswith(f"error: {path}: ")
    assert says in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "models").exists()


def test_bad_rows_are_dropped_and_listed_if_asked(churn: Any, bank_csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "dirty.csv"
    path.write_text(bank_csv.read_text().replace("Female", "?", 2))
    answer = churn("train", path, "--on-bad-row", "drop", "--write-schema", tmp_path / "bank.toml")
    assert answer.code == 0
    assert "998 customers" in answer.out
    assert "2 rows are dropped for 2 faults:\n  line " in answer.out


def test_too_small_a_part_is_refused_with_the_option_to_change(churn: Any, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "small.csv", draw_customers(200))
    answer = churn("train", path, "--models", tmp_path / "models", "--test-size", 0.005)
    assert answer.code == 1
    assert answer.err.startswith("error: can't hold out a test set of 0.005 from 200 customers")


def test_the_schema_is_written_to_be_edited_and_nothing_is_trained(churn: Any, bank_csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    answer = churn("train", bank_csv, "--write-schema", path, "--models", tmp_path / "models")
    assert answer.code == 0
    assert answer.out.endswith(f"\nwrote the schema to {path}; edit it, then train with --schema {path}\n")
    assert not (tmp_path / "models").exists()
    schema = read_schema(path)
    assert schema.names[0] == "CreditScore"
    text = path.read_text()
    path.write_text(text[: text.index("[features.EstimatedSalary]")])
    answer = churn("train", bank_csv, "--schema", path, "--write-schema", tmp_path / "again.toml")
    assert answer.code == 0
    assert read_schema(tmp_path / "again.toml").names == schema.names[:-1]


@pytest.mark.parametrize("option", ["--label", "--id", "--category"])
def test_a_schema_and_an_option_that_says_the_same_are_refused(
    churn: Any, bank_csv: Path, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "bank.toml"
    churn("train", bank_csv, "--write-schema", path)
    answer = churn("train", bank_csv, "--schema", path, option, "Exited")
    assert answer.code == 2
    assert f"--schema sets these already; remove: {option}" in answer.err


def test_a_schema_file_that_is_none_is_refused(churn: Any, bank_csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "bank.toml"
    path.write_text("label = 3")
    answer = churn("train", bank_csv, "--schema", path)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith(f"error: {path}: label and identifier of the schema must be strings")


def test_a_column_without_a_value_is_shown_without_a_range(churn: Any, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "bank.csv", draw_customers(200).assign(Later=""))
    schema = tmp_path / "bank.toml"
    schema.write_text(
        'label = "Exited"\n[features.Age]\nkind = "integer"\n[features.Later]\nkind = "number"\nnullable = true\n'
    )
    answer = churn("train", table, "--schema", schema, "--write-schema", tmp_path / "again.toml")
    assert answer.code == 0
    assert "Later  number    a number, or null\n" in answer.out
