"""Champion and challenger, paired on the same records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER, draw_raw, publish
from record_samples import make_decision, write
from sklearn.metrics import log_loss, roc_auc_score
from test_judge import at, know

from churn.errors import TableError
from churn.measures.intervals import Interval
from churn.scorer import load_scorer
from records.judging.compare import compare, decide
from records.judging.inputs import encode_inputs, find_usable
from records.judging.judge import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer
    from records.store import RecordStore

PLAN = Plan(30, 12, at("2026-06-01"))


@pytest.fixture
def challenger(tmp_path: Path) -> Scorer:
    """A version that was trained before all records."""
    return load_scorer(publish(tmp_path / "models", created="2026-01-01T00:00:00+00:00"), "onnx")


def record(store: RecordStore, tmp_path: Path, challenger: Scorer, noise: float, customers: int = 800) -> Any:
    """Record customers who leave as the challenger says; the champion's log odds have noise."""
    draw = np.random.default_rng(0)
    raw = draw_raw(BANK, customers)
    true = challenger.score_raw(raw)
    odds = np.log(true / (1 - true)) + draw.normal(0, noise, customers)
    said = (1 / (1 + np.exp(-odds))).round(6)
    left = draw.random(customers) < true
    sent = [
        {feature.name: value if feature.kind != "category" else feature.levels[int(value)]
         for feature, value in zip(BANK.features, row, strict=True)}
        for row in raw.tolist()
    ]  # fmt: skip
    write(store, [make_decision(time=at(f"2026-03-{1 + number % 28:02}"), customer_id=str(number),
                                probability=float(said[number]), churn=bool(said[number] > 0.5), model_version="7",
                                input=json.dumps(one)) for number, one in enumerate(sent)])  # fmt: skip
    know(store, tmp_path, *[(number, "2026-04-28" if not gone else f"2026-03-{1 + number % 28:02}", int(gone))
                            for number, gone in enumerate(left)])  # fmt: skip
    return left, said, true


def test_a_better_challenger_is_to_be_promoted(store: RecordStore, tmp_path: Path, challenger: Scorer) -> None:
    left, said, true = record(store, tmp_path, challenger, noise=1.5)
    found = compare(store, PLAN, "7", challenger)
    json.dumps(found, allow_nan=False)
    judged = found["customers"]
    assert judged > 700
    assert judged + found["left_out"]["not_judged"] == 800
    if judged == 800:
        assert found["measures"]["7"]["log_loss"]["value"] == pytest.approx(log_loss(left, said))
    measures, differences = found["measures"], found["differences"]
    for name in ("log_loss", "roc_auc", "precision", "recall"):
        first, second = (measures[version][name]["value"] for version in ("7", challenger.version))
        assert differences[name]["value"] == pytest.approx(second - first)
        assert differences[name]["low"] <= differences[name]["value"] <= differences[name]["high"]
    alone = measures["7"]["log_loss"]
    paired = differences["log_loss"]
    assert paired["high"] - paired["low"] < 1.5 * (alone["high"] - alone["low"])
    assert found["verdict"] == "promote"
    assert roc_auc_score(left, true) > roc_auc_score(left, said)


def test_a_challenger_that_says_the_same_is_no_better(store: RecordStore, tmp_path: Path, challenger: Scorer) -> None:
    record(store, tmp_path, challenger, noise=0)
    found = compare(store, PLAN, "7", challenger)
    assert found["differences"]["log_loss"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["verdict"] == "undecided"


def test_outcomes_that_the_challenger_may_have_learnt_are_left_out(store: RecordStore, tmp_path: Path) -> None:
    late = load_scorer(publish(tmp_path / "models", created="2026-05-20T00:00:00+00:00"), "onnx")
    record(store, tmp_path, late, noise=1, customers=300)
    with pytest.raises(TableError, match=r"300 known in training.*trained on 2026-05-20.*--include-known"):
        compare(store, PLAN, "7", late)
    assert compare(store, PLAN, "7", late, include_known=True)["customers"] == 300
    middle = load_scorer(publish(tmp_path / "models", created="2026-04-10T00:00:00+00:00"), "onnx")
    found = compare(store, PLAN, "7", middle)
    assert 0 < found["left_out"]["known_in_training"] < 300
    assert found["customers"] + found["left_out"]["known_in_training"] == 300


def test_only_records_of_the_champion_that_both_can_score_count(
    store: RecordStore, tmp_path: Path, challenger: Scorer
) -> None:
    inputs = [CUSTOMER, CUSTOMER | {"Age": -1}, CUSTOMER | {"Geography": "Mars"}, ODD_CUSTOMER]
    decisions = [make_decision(number, time=at("2026-03-10"), customer_id=str(number), input=json.dumps(one))
                 for number, one in enumerate(inputs)]  # fmt: skip
    write(store, [*decisions, make_decision(9, time=at("2026-03-10"), customer_id="9", model_version="2")])
    know(store, tmp_path, *[(number, "2026-05-01", 0) for number in range(9)], (9, "2026-05-01", 0))
    found = compare(store, PLAN, "1", challenger)
    assert found["customers"] == 1
    assert found["left_out"] == {"other_version": 1, "not_judged": 0, "known_in_training": 0, "not_scored": 3}
    assert found["verdict"] == "undecided"
    assert found["reason"] == "there are only 0 leavers or stayers; 100 of each are needed"
    with pytest.raises(TableError, match="5 other version"):
        compare(store, PLAN, "3", challenger)


@pytest.mark.parametrize(
    ("loss", "auc", "rarer", "verdict"),
    [
        ((-0.02, -0.03, -0.01), (0.01, -0.01, 0.03), 500, "promote"),
        ((-0.02, -0.03, -0.01), (-0.02, -0.03, -0.01), 500, "undecided"),
        ((0.02, 0.01, 0.03), (0.01, 0.005, 0.03), 500, "keep"),
        ((-0.02, -0.05, 0.01), (0.01, 0.005, 0.03), 500, "undecided"),
        ((-0.02, -0.03, -0.01), (0.01, 0.005, 0.03), 99, "undecided"),
    ],
)
def test_the_log_loss_decides_unless_the_ranking_becomes_worse(
    loss: tuple[float, ...], auc: tuple[float, ...], rarer: int, verdict: str
) -> None:
    found, reason = decide({"log_loss": Interval(*loss), "roc_auc": Interval(*auc)}, rarer)
    assert found == verdict
    assert reason


def test_inputs_are_encoded_as_they_were_sent() -> None:
    texts = {"class": "b c", "_income": "12.5", "größe in cm": "", "it's €?": "no", "plain": "-3"}
    decomposed = {"gro\u0308ße in cm" if name == "größe in cm" else name: value for name, value in ODD_CUSTOMER.items()}
    sent = [json.dumps(one) for one in (ODD_CUSTOMER, texts, decomposed, {"class": "a"})]
    raw = encode_inputs(ODD, [*sent, None], [None, "texts=parse", None, None, None])
    assert raw[0].tolist()[:2] == [3, 12.5]
    assert raw[1].tolist()[:2] == [1, 12.5]
    assert np.array_equal(raw[0], raw[2], equal_nan=True)
    assert find_usable(raw).tolist() == [True, True, True, False, False]
