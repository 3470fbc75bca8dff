"""`churn evaluate`: a published version judged on a labelled table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import draw_customers, write_csv
from tampering import forge_manifest

from churn.scorer import load_scorer
from training import backtest
from training.dataset import load_dataset
from training.evaluate import score

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """Customers whom the model has not seen."""
    return write_csv(tmp_path / "later.csv", draw_customers(400, seed=5))


@pytest.fixture
def evaluate(churn: Any, own_models: Path, tmp_path: Path) -> Any:
    def run(data: Path, *options: object) -> Any:
        outputs = ("--report", tmp_path / "later.html", "--summary", tmp_path / "later.json")
        return churn("evaluate", data, "--models", own_models, *outputs, *options)

    return run


def expected(models: Path, data: Path, threshold: float = 0.5) -> Any:
    scorer = load_scorer(models / "1", "onnx")
    dataset = load_dataset(data, schema=scorer.schema)
    return score(dataset.labels, scorer.score_raw(dataset.raw), threshold)


def test_a_version_is_judged_with_its_scores_and_the_report(
    evaluate: Any, own_models: Path, later: Path, tmp_path: Path
) -> None:
    answer = evaluate(later, "--version", 1)
    assert (answer.code, answer.err) == (0, "")
    scores = expected(own_models, later)
    lines = {line[:18].strip(): line[18:].split() for line in answer.out.splitlines()}
    assert lines["log loss"][0] == f"{scores.log_loss:.4f}"
    assert lines["roc auc"][0] == f"{scores.roc_auc:.4f}"
    assert len(lines["log loss"]) == 2, "the test part of the training stands beside it"
    assert "later.csv: 400 customers" in answer.out
    summary = json.loads((tmp_path / "later.json").read_text())
    assert summary["scores"]["confusion_matrix"] == scores.confusion_matrix
    assert summary["version"] == 1
    html = (tmp_path / "later.html").read_text()
    for words in ("ROC curve", "Reliability", "Permutation importance", "a published model on another table"):
        assert words in html
    assert 'id="training"' not in html


def test_the_label_is_read_as_in_training(evaluate: Any, own_models: Path, tmp_path: Path) -> None:
    forge_manifest(own_models / "1", lambda c: c["data"].update(classes={"left": "gone", "stayed": "here"}))
    table = draw_customers(400, seed=5)
    words = table.Exited.map({0: "Here", 1: "Gone"})
    words[::8] = "Joined"
    answer = evaluate(write_csv(tmp_path / "words.csv", table.assign(Exited=words)))
    assert answer.code == 0
    assert "50 rows are left out: Exited is neither 'gone' nor 'here'" in answer.out
    plain = write_csv(tmp_path / "plain.csv", table[words != "Joined"])
    found = json.loads((tmp_path / "later.json").read_text())["scores"]
    assert found["log_loss"] == pytest.approx(expected(own_models, plain).log_loss)


def test_the_label_may_have_another_name_than_in_training(
    evaluate: Any, own_models: Path, later: Path, tmp_path: Path
) -> None:
    renamed = write_csv(tmp_path / "renamed.csv", draw_customers(400, seed=5).rename(columns={"Exited": "gone "}))
    assert evaluate(renamed, "--label", "gone ").code == 0
    found = json.loads((tmp_path / "later.json").read_text())["scores"]
    assert found["log_loss"] == pytest.approx(expected(own_models, later).log_loss)


def test_rows_that_can_not_be_scored_stop_it_or_are_left_out(evaluate: Any, tmp_path: Path) -> None:
    table = draw_customers(400, seed=5).astype(object)
    table.loc[3, "Age"] = "old"
    path = write_csv(tmp_path / "bad.csv", table)
    answer = evaluate(path)
    assert answer.code == 1
    assert "line 5, column Age: 'old' is not a number" in answer.err
    assert not (tmp_path / "later.html").exists()
    answer = evaluate(path, "--on-bad-row", "drop")
    assert "bad.csv: 399 customers" in answer.out
    assert "1 rows are left out for 1 faults" in answer.out


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.drop(columns="Exited"), "columns are missing: Exited"),
        (lambda table: table.drop(columns="Age"), "columns are missing: Age"),
        (lambda table: table.assign(Exited=0), "has one value"),
    ],
)
def test_a_table_that_can_not_be_judged_is_refused(evaluate: Any, tmp_path: Path, change: Any, says: str) -> None:
    answer = evaluate(write_csv(tmp_path / "bad.csv", change(draw_customers(100))))
    assert answer.code == 1
    assert says in answer.err


def test_repeated_customers_and_leaks_are_judged_as_they_come(
    evaluate: Any, own_models: Path, later: Path, tmp_path: Path
) -> None:
    table = draw_customers(400, seed=5)
    twice = write_csv(
        tmp_path / "twice.csv", table.loc[np.repeat(table.index, 2)].assign(Late=np.repeat(table.Exited, 2))
    )
    assert "twice.csv: 800 customers" in evaluate(twice).out
    found = json.loads((tmp_path / "later.json").read_text())["scores"]
    assert found["log_loss"] == pytest.approx(expected(own_models, later).log_loss)


def test_another_threshold_is_judged_and_said(evaluate: Any, own_models: Path, later: Path, tmp_path: Path) -> None:
    answer = evaluate(later, "--threshold", 0.2)
    assert "threshold 0.2: " in answer.out
    scores = json.loads((tmp_path / "later.json").read_text())["scores"]
    assert scores["confusion_matrix"] == expected(own_models, later, 0.2).confusion_matrix


def test_the_report_of_a_large_table_is_drawn_from_a_sample_and_scores_rest_on_all(
    evaluate: Any, own_models: Path, later: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest, "REPORT_ROWS", 150)
    assert evaluate(later).code == 0
    assert "<b>150</b> customers of later.csv, drawn from its 400" in (tmp_path / "later.html").read_text()
    found = json.loads((tmp_path / "later.json").read_text())["scores"]
    assert found["log_loss"] == pytest.approx(expected(own_models, later).log_loss)
