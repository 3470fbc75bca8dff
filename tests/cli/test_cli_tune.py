from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from quick import judge_without_teaching

pytest.importorskip("optuna", reason="the extra tune is not installed")

from training.default.config import Config, read_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was judged, without training; a None that is put in is a Ctrl-C."""
    return judge_without_teaching(monkeypatch)


def test_a_search_says_what_it_found_and_how_to_train_with_it(
    churn: Any, bank_csv: Path, tmp_path: Path, judged: list[Config]
) -> None:
    output = tmp_path / "tuned.toml"
    answer = churn("tune", bank_csv, "--output", output, "--trials", 9, "--confirm", 1)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("bank.csv: 1,000 customers, ")
    assert "\ntrial 1: 0.34000 (best 0.34000)\ntrial 2: " in answer.out
    assert " of 5 folds (best 0." in answer.out
    assert "Best of 9 configurations tried: cross-validated log loss 0.3" in answer.out
    assert " nats over seeds 1: better than the default.\n" in answer.out
    assert answer.out.endswith(
        f"\nwrote the configuration to {output}; train with: churn train {bank_csv} --config {output}\n"
    )
    assert judged[0] == judged[-2] == Config()
    assert judged[-1] == read_config(output)


def test_an_interrupted_search_keeps_the_best_so_far_and_goes_on(
    churn: Any, bank_csv: Path, tmp_path: Path, judged: list[Any]
) -> None:
    output = tmp_path / "tuned.toml"
    command = ("tune", bank_csv, "--output", output, "--confirm", 0, "--trials")
    judged.append(None)
    answer = churn(*command, 4)
    assert answer.code == 130
    assert answer.err == "\ninterrupted: run the same command to continue\n"
    assert churn(*command, 2).code == 0
    before = output.read_text()
    judged.append(None)
    answer = churn(*command, 4)
    assert answer.code == 130
    assert answer.err == f"\ninterrupted: the best trial so far is in {output}; run the same command to continue\n"
    assert output.read_text() == before
    answer = churn(*command, 4)
    assert answer.code == 0
    assert f"continuing after 2 trials in {tmp_path / 'tuned.sqlite'}\ntrial 3: " in answer.out


def test_what_can_not_be_tuned_is_refused_in_one_message(
    churn: Any, bank_csv: Path, tmp_path: Path, judged: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "tuned.toml"
    assert churn("tune", bank_csv, "--output", output, "--trials", 1).code == 0
    answer = churn("tune", bank_csv, "--output", output, "--trials", 1, "--seed", 1)
    assert answer.code == 1
    assert answer.err.startswith(
        f"error: {tmp_path / 'tuned.sqlite'}: its trials belong to another search (seed differ)"
    )
    assert len(judged) == 1
    monkeypatch.setattr("training.tuning.errors.find_spec", lambda _: None)
    answer = churn("tune", bank_csv, "--output", output)
    assert (answer.code, answer.err) == (
        1,
        "error: the search needs Optuna, which is not installed: pip install 'churn[tune]'\n",
    )
