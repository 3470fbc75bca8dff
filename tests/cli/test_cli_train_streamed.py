from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from quick import CONFIG, write_config

from churn.bundle import read_bundle
from training.streaming import settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_the_command_streams_a_folder_and_leaves_nothing_behind(churn: Any, bank_csv: Path, tmp_path: Path) -> None:
    folder, scratch, models = tmp_path / "bank", tmp_path / "scratch", tmp_path / "models"
    folder.mkdir()
    scratch.mkdir()
    pd.read_csv(bank_csv).to_parquet(folder / "a.parquet", index=False)
    config = write_config(tmp_path / "quick.toml")
    answer = churn("train", folder, "--models", models, "--config", config, "--scratch", scratch, "--epochs", 1)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("bank: 1,000 customers, ")
    assert "Age              integer   a whole number from 0 to 130, seen 18 to 79\n" in answer.out
    assert "log loss  " in answer.out
    assert answer.out.endswith(f"\npublished version 1 in {models}/1 and made it current\n")
    assert read_bundle(models / "1").manifest.content["settings"]["config"]["folds"] == CONFIG["folds"]
    assert list(scratch.iterdir()) == []


def test_a_large_table_is_streamed_unless_told_otherwise(
    churn: Any, bank_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = tmp_path / "bank.parquet"
    pd.read_csv(bank_csv).to_parquet(parquet, index=False)
    for most, streams in ((999, True), (1000, False)):
        monkeypatch.setattr(settings, "STREAM_ROWS", most)
        answer = churn("train", parquet, "--write-schema", tmp_path / "bank.toml")
        assert (answer.code, "The table was streamed" in answer.out) == (0, streams)
    monkeypatch.setattr(settings, "STREAM_ROWS", 500)
    answer = churn("train", bank_csv, "--write-schema", tmp_path / "bank.toml")
    assert "The table was streamed" in answer.out
    for options in (("--in-memory",), ("--network", "reference")):
        answer = churn("train", bank_csv, *options, "--write-schema", tmp_path / "bank.toml")
        assert (answer.code, "The table was streamed" in answer.out) == (0, False)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--epochs", 3, "--scratch", "."),
            "the table is loaded into memory; these need --stream: --epochs, --scratch",
        ),
        (
            ("--stream", "--network", "reference"),
            "--stream needs the default network, not --network reference",
        ),
        (("--stream", "--validation-size", 0), "0.0 is not in the range 0<x<=0.5"),
        (("--stream", "--best", "--minutes", 1), "--best needs the table in memory"),
    ],
)
def test_options_that_contradict_each_other_are_refused(churn: Any, bank_csv: Path, options: Any, says: str) -> None:
    answer = churn("train", bank_csv, *options)
    assert answer.code == 2
    assert says in answer.err
