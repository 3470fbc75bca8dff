"""Measures with influences: their values are those of scikit-learn, and their errors those of the bootstrap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_score, recall_score, roc_auc_score

from churn.measures import shares
from churn.measures.calibration import fit_intercept, fit_slope, judge_bins, judge_calibration
from churn.measures.expected import expect
from churn.measures.influence import (
    as_interval,
    estimate_auc,
    estimate_lift,
    estimate_log_loss,
    estimate_precision,
    estimate_recall,
)
from churn.measures.sample import Sample
from churn.measures.training import find_auc_interval, find_loss_interval, read_trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

ESTIMATES: dict[str, Any] = {
    "log_loss": estimate_log_loss,
    "roc_auc": estimate_auc,
    "precision": estimate_precision,
    "recall": estimate_recall,
    "lift": estimate_lift,
}


def draw(rows: int, seed: int = 0, shift: float = 0.0, digits: int = 6) -> tuple[NDArray[np.float64], ...]:
    generator = np.random.default_rng(seed)
    odds = generator.normal(-1.4, 1.3, rows)
    probabilities = (1 / (1 + np.exp(-odds))).round(digits)
    return (generator.random(rows) < 1 / (1 + np.exp(-odds - shift))).astype(float), probabilities


def make(rows: int, seed: int = 0, shift: float = 0.0, digits: int = 6) -> Sample:
    labels, probabilities = draw(rows, seed, shift, digits)
    return Sample.of(labels, probabilities, probabilities > 0.5)[0]


@pytest.mark.parametrize("digits", [6, 1])
def test_values_are_those_of_scikit_learn(digits: int) -> None:
    labels, probabilities = draw(3000, 1, digits=digits)
    probabilities = probabilities.clip(0.01, 0.99)
    sample = Sample.of(labels, probabilities, probabilities > 0.5)[0]
    found = {name: estimate(sample).value for name, estimate in ESTIMATES.items()}
    assert found == pytest.approx(
        {
            "log_loss": log_loss(labels, probabilities),
            "roc_auc": roc_auc_score(labels, probabilities),
            "precision": precision_score(labels, probabilities > 0.5),
            "recall": recall_score(labels, probabilities > 0.5),
            "lift": shares.lift(labels, probabilities),
        }
    )


@pytest.mark.parametrize("name", ESTIMATES)
def test_errors_are_those_of_the_bootstrap(name: str) -> None:
    labels, probabilities = draw(2000, 3)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        rows = generator.integers(0, 2000, 2000)
        sample = Sample.of(labels[rows], probabilities[rows], probabilities[rows] > 0.5)[0]
        drawn.append(ESTIMATES[name](sample).value)
    estimate = ESTIMATES[name](make(2000, 3))
    assert estimate.influence.mean() == pytest.approx(0, abs=1e-3)
    assert estimate.error() == pytest.approx(np.std(drawn), rel=0.15)


def test_the_error_of_the_auc_is_that_of_delong() -> None:
    sample = make(300, 4, digits=2)
    left, stayed = sample.probabilities[sample.labels == 1], sample.probabilities[sample.labels == 0]
    wins = (left[:, None] > stayed) + 0.5 * (left[:, None] == stayed)
    # Without the correction for degrees of freedom.
    variance = np.var(wins.mean(axis=1)) / len(left) + np.var(wins.mean(axis=0)) / len(stayed)
    assert ESTIMATES["roc_auc"](sample).error() == pytest.approx(math.sqrt(variance))


def test_a_person_who_is_there_twice_counts_once() -> None:
    labels, probabilities = draw(500, 5)
    once = Sample.of(labels, probabilities, probabilities > 0.5, np.arange(500))[0]
    rows = np.tile(np.arange(500), 4)
    often = Sample.of(labels[rows], probabilities[rows], probabilities[rows] > 0.5, rows)[0]
    for name in ("log_loss", "roc_auc", "precision", "recall"):
        one, four = ESTIMATES[name](once), ESTIMATES[name](often)
        assert four.value == pytest.approx(one.value)
        assert four.error(often.clusters) == pytest.approx(one.error(once.clusters))
        assert four.error() == pytest.approx(one.error() / 2)


def test_a_difference_is_paired() -> None:
    labels, probabilities = draw(4000, 6)
    worse = (probabilities * 0.9 + 0.01).round(6)
    order = np.arange(4000)
    both = [Sample(labels[order], each[order], each[order] > 0.5) for each in (probabilities, worse)]
    difference = estimate_log_loss(both[1]).minus(estimate_log_loss(both[0]))
    assert difference.error() < 0.3 * estimate_log_loss(both[0]).error()
    assert difference.value == pytest.approx(log_loss(labels, worse) - log_loss(labels, probabilities))


def test_a_subset_is_a_sample_of_its_own() -> None:
    labels, probabilities = draw(1000, 7)
    mask = np.random.default_rng(1).random(1000) < 0.3
    sample, order = Sample.of(labels, probabilities, probabilities > 0.5)
    part = sample.subset(mask[order])
    assert estimate_auc(part).value == pytest.approx(roc_auc_score(labels[mask], probabilities[mask]))  # type: ignore[union-attr]


def test_what_is_undefined_is_none() -> None:
    alone = Sample.of(np.ones(3), np.full(3, 0.2), np.zeros(3, bool))[0]
    assert estimate_auc(alone) is estimate_precision(alone) is None
    stayed = Sample.of(np.zeros(3), np.full(3, 0.2), np.ones(3, bool))[0]
    assert estimate_recall(stayed) is estimate_lift(stayed) is None
    assert math.isnan(as_interval(None, "share").value)
    found = judge_calibration(stayed)
    assert math.isnan(found.slope.value)
    assert found.error.value == pytest.approx(0.2)


def test_certain_probabilities_have_a_finite_loss() -> None:
    sample = Sample.of(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([False, True]))[0]
    assert estimate_log_loss(sample).value == pytest.approx(-math.log(5e-7))


def test_calibration_is_the_logistic_regression_of_the_outcome() -> None:
    labels, probabilities = draw(5000, 8, shift=0.4)
    odds = np.log(probabilities / (1 - probabilities))
    sample = Sample.of(labels, probabilities, probabilities > 0.5)[0]
    model = LogisticRegression(C=np.inf, tol=1e-10).fit(odds[:, None], labels)
    slope, intercept = fit_slope(sample), fit_intercept(sample)
    assert slope is not None
    assert intercept is not None
    assert slope.value == pytest.approx(model.coef_[0, 0], rel=1e-4)
    fitted = 1 / (1 + np.exp(-odds - intercept.value))
    assert fitted.sum() == pytest.approx(labels.sum())
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(200):
        rows = generator.integers(0, 5000, 5000)
        found = fit_slope(Sample.of(labels[rows], probabilities[rows], probabilities[rows] > 0.5)[0])
        assert found is not None
        drawn.append(found.value)
    assert slope.error() == pytest.approx(np.std(drawn), rel=0.2)


def test_separated_classes_have_no_slope() -> None:
    labels = np.repeat([0.0, 1.0], 20)
    sample = Sample.of(labels, np.linspace(0.1, 0.9, 40).round(6), labels == 1)[0]
    assert fit_slope(sample) is None
    assert math.isnan(judge_calibration(sample).slope.value)


@pytest.mark.parametrize(("shift", "rows"), [(0.0, 2000), (0.5, 2000), (0.2, 20_000)])
def test_the_interval_of_the_calibration_error_has_the_true_one(shift: float, rows: int) -> None:
    labels, probabilities = draw(1_000_000, 99, shift)
    true = 0.0 if not shift else shares.calibration_error(labels, probabilities)
    inside = 0
    for seed in range(100):
        error, chance = judge_bins(make(rows, seed, shift))
        inside += error.low <= true <= error.high
        assert error.low == 0 or error.value > chance
    assert inside >= 90


def test_what_is_expected_comes_if_probabilities_are_calibrated() -> None:
    inside = dict.fromkeys(("share_left", *ESTIMATES), 0)
    for seed in range(200):
        sample = make(1000, seed)
        expected = expect(sample)
        came = {name: estimate(sample).value for name, estimate in ESTIMATES.items()}
        came["share_left"] = float(sample.labels.mean())
        for name in inside:
            interval = getattr(expected, name)
            inside[name] += interval.low <= came[name] <= interval.high
    assert all(180 <= count <= 199 for count in inside.values()), inside


def test_what_is_expected_is_the_mean_over_drawn_outcomes() -> None:
    probabilities = draw(300, 11, digits=1)[1].clip(0.05, 0.95)
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in ESTIMATES}
    for _ in range(2000):
        labels = (generator.random(300) < probabilities).astype(float)
        sample = Sample.of(labels, probabilities, probabilities > 0.3)[0]
        for name, values in drawn.items():
            values.append(ESTIMATES[name](sample).value)
    expected = expect(sample)
    for name, values in drawn.items():
        interval = getattr(expected, name)
        assert interval.value == pytest.approx(np.mean(values), rel=0.01), name
        assert (interval.high - interval.value) / 1.96 == pytest.approx(np.std(values), rel=0.1), name


def test_nothing_is_expected_of_nobody_or_of_the_certain() -> None:
    nobody = Sample(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    assert all(math.isnan(interval.value) for interval in expect(nobody))
    certain = expect(Sample.of(np.zeros(2), np.zeros(2), np.zeros(2, bool))[0])
    assert certain.share_left.value == 0
    assert math.isnan(certain.roc_auc.value)
    assert math.isnan(certain.precision.value)


def test_the_interval_of_training_is_near_the_one_of_the_customers() -> None:
    sample = make(4000, 12)
    auc, loss = estimate_auc(sample), estimate_log_loss(sample)
    assert auc is not None
    left = int(sample.labels.sum())
    counts, edges = np.histogram(sample.probabilities, np.linspace(0, 1, 21))
    metrics = {
        "customers": 4000,
        "roc_auc": auc.value,
        "log_loss": loss.value,
        "confusion_matrix": [[4000 - left, 0], [left, 0]],
    }
    histogram = {"counts": counts.tolist(), "edges": edges[1:-1].tolist()}
    found = read_trained({"metrics": {"test": metrics}, "score_histogram": histogram})
    assert found is not None
    assert (found.part, found.customers) == ("test", 4000)
    for ours, theirs in ((found.roc_auc, auc.interval()), (found.log_loss, loss.interval())):
        assert ours.value == theirs.value
        assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.15)
    assert read_trained({"metrics": {"validation": metrics}}).part == "validation"  # type: ignore[union-attr]
    assert read_trained({"metrics": {"test": {"log_loss": 0.3}}}) is None
    assert math.isnan(find_auc_interval(0.5, 0, 10).low)
    assert math.isnan(find_loss_interval(0.3, 100, {"edges": [], "counts": []}).low)
