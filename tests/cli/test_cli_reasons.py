"""`churn score --reasons`."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import bundles
import pandas as pd
import pytest
from bank import draw_customers, write_csv

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["CustomerId", "probability", "churn", "model_version", "base"]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table of customers, and the models with a background."""
    monkeypatch.chdir(tmp_path)
    bundles.publish(tmp_path / "models", background=2)
    monkeypatch.setenv("CHURN_ENGINE", "onnx")
    write_csv(tmp_path / "in.csv", draw_customers(30))
    return tmp_path


def name_reasons(count: int) -> list[str]:
    return [f"reason_{number}{end}" for number in range(1, count + 1) for end in ("", "_points", "_sentence")]


def test_the_scores_have_columns_of_reasons(churn: Any, workplace: Path) -> None:
    assert churn("score", "in.csv", "--output", "out.csv", "--reasons", "2").code == 0
    assert (workplace / "out.csv").read_text().splitlines()[0] == ",".join([*NAMES, *name_reasons(2)])
    answer = churn("score", "in.csv", "--output", "-", "--reasons", "1", "--rejects", "rejects.csv")
    assert answer.out.splitlines()[0] == ",".join([*NAMES, *name_reasons(1)])
    with sqlite3.connect("bank.db") as database:
        pd.read_csv("in.csv").to_sql("customers", database, index=False)
    options = ("--sql", "SELECT * FROM customers", "--url", "sqlite:///bank.db", "--table", "scores")
    assert churn("score", *options, "--reasons", "all").code == 0
    names = [column[0] for column in database.execute("SELECT * FROM scores").description]
    database.close()
    assert names == [*NAMES, *name_reasons(10)]


@pytest.mark.usefixtures("workplace")
def test_what_is_no_number_of_reasons_is_wrong_usage(churn: Any) -> None:
    answer = churn("score", "in.csv", "--output", "other.csv", "--reasons", "0")
    assert answer.code == 2
    assert "'0' is not a number of reasons; allowed: a whole number from 1 to 9999, or all" in answer.err


def test_a_version_without_a_background_is_an_error_that_says_retrain(churn: Any, workplace: Path) -> None:
    bundles.publish(workplace / "models")
    answer = churn("score", "in.csv", "--output", "out.csv", "--reasons", "2")
    assert answer.code == 1
    assert answer.err.startswith("error: model version 2 has no background")
    assert "retrain it with churn train" in answer.err
    assert not (workplace / "out.csv").exists()
