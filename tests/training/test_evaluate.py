from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.measures.shares import calibration_error, confusion_matrix, lift
from training.evaluate import score

LABELS = np.array([0, 0, 1, 1, 0, 1.0])
PROBABILITIES = np.array([0.1, 0.4, 0.35, 0.8, 0.5, 0.9])


def test_every_score_by_hand() -> None:
    scores = score(LABELS, PROBABILITIES)
    kept = [0.9, 0.6, 0.35, 0.8, 0.5, 0.9]
    assert scores.customers == 6
    assert scores.log_loss == pytest.approx(-sum(math.log(share) for share in kept) / 6)
    assert scores.brier_score == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04 + 0.25 + 0.01) / 6)
    # Of the nine pairs of one who left and one who stayed, 0.35 loses against 0.4 and 0.5.
    assert scores.roc_auc == pytest.approx(7 / 9)
    # Leavers stand at ranks 1, 2 and 5.
    assert scores.average_precision == pytest.approx((1 / 1 + 2 / 2 + 3 / 5) / 3)
    assert scores.accuracy == pytest.approx(5 / 6)
    assert scores.confusion_matrix == [[3, 0], [1, 2]]
    assert scores.lift == pytest.approx(2)


def test_the_threshold_is_strict() -> None:
    assert score(LABELS, PROBABILITIES, threshold=0.8).confusion_matrix == [[3, 0], [2, 1]]
    assert score(LABELS, PROBABILITIES, threshold=0.79).confusion_matrix == [[3, 0], [1, 2]]
    assert score(LABELS, PROBABILITIES, threshold=0.49).confusion_matrix == [[2, 1], [1, 2]]


def test_the_confusion_matrix_has_truth_in_rows_and_words_in_columns() -> None:
    labels = np.array([0] * 10 + [1] * 100)
    said = np.array([True] + [False] * 9 + [True] * 98 + [False] * 2)
    assert confusion_matrix(labels, said) == [[9, 1], [2, 98]]


def plainly_calibrated(labels: list[float], probabilities: list[float], bins: int) -> float:
    total = 0.0
    for number in range(bins):
        members = [
            (label, p)
            for label, p in zip(labels, probabilities, strict=True)
            if number / bins <= p < (number + 1) / bins or (number == bins - 1 and p == 1)
        ]
        if members:
            left = sum(label for label, _ in members) / len(members)
            said = sum(p for _, p in members) / len(members)
            total += len(members) / len(labels) * abs(left - said)
    return total


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.integers(0, 64).map(lambda n: n / 64)), min_size=1))
def test_the_calibration_error_is_that_of_its_definition(pairs: list[tuple[float, float]]) -> None:
    labels, probabilities = (list(values) for values in zip(*pairs, strict=True))
    found = calibration_error(np.array(labels), np.array(probabilities), bins=16)
    assert found == pytest.approx(plainly_calibrated(labels, probabilities, 16), abs=1e-12)


def test_the_calibration_error_has_fifteen_bins() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.random(1000)
    labels = (draw.random(1000) < probabilities**2).astype(float)
    expected = plainly_calibrated(labels.tolist(), probabilities.tolist(), 15)
    assert score(labels, probabilities).calibration_error == pytest.approx(expected, abs=1e-12)
    assert expected != pytest.approx(plainly_calibrated(labels.tolist(), probabilities.tolist(), 10), abs=1e-3)


def test_the_lift_compares_the_top_tenth_with_everyone() -> None:
    labels = np.array([1, 1] + [0] * 18 + [1] * 2 + [0] * 18, dtype=float)
    probabilities = np.linspace(1, 0, 40)
    assert lift(labels, probabilities) == pytest.approx((2 / 4) / (4 / 40))
    assert lift(labels, probabilities[::-1]) == 0
    assert lift(np.array([1, 0.0]), np.array([0.9, 0.1])) == 2


@pytest.mark.parametrize("weights", [None, np.array([3.0, 1, 2] * 20)])
def test_the_lift_of_equal_probabilities_does_not_depend_on_the_order(weights: np.ndarray | None) -> None:
    labels = np.repeat([1.0, 0.0], [20, 40])
    assert lift(labels, np.full(60, 0.3), weights=weights) == pytest.approx(1)
    halves = np.where(np.arange(60) % 2, 0.8, 0.2)
    backwards = None if weights is None else weights[::-1]
    assert lift(labels, halves, weights=weights) == pytest.approx(lift(labels[::-1], halves[::-1], weights=backwards))


@pytest.mark.parametrize(
    ("labels", "probabilities"), [([0, 1], [0.5, math.nan]), ([0, 0], [0.1, 0.2])], ids=["NaN", "one class"]
)
@pytest.mark.filterwarnings("ignore:Only one class")
def test_what_can_not_be_scored_is_an_error(labels: Any, probabilities: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words are scikit-learn's
        score(np.array(labels, dtype=float), np.array(probabilities))
