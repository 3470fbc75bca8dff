from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from churn.measures import ranking as weighted
from churn.measures.intervals import bootstrap, chance_calibration_error, wilson
from churn.measures.ranking import Ranking
from training import evaluate
from training.report.curves import calibration_bins, lift_by_tenth, rank_customers, thin

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sample: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"


def draw(count: int, seed: int = 0, decimals: int = 2) -> Sample:
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(1, 3, count).round(decimals)
    return (rng.random(count) < probabilities).astype(float), probabilities


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_values(successes: int, total: int, low: float, high: float) -> None:
    found = wilson(successes, total)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_everyone_mirrors_wilson_of_nobody() -> None:
    assert wilson(20, 20).low == pytest.approx(1 - wilson(0, 20).high)
    assert wilson(20, 20).high == 1


def test_wilson_of_nothing_is_not_known() -> None:
    assert np.isnan(wilson(0, 0).value)


@pytest.mark.parametrize("decimals", [1, 6])
def test_weighted_scores_are_those_of_repeated_customers(decimals: int) -> None:
    labels, probabilities = draw(300, decimals=decimals)
    weights = np.random.default_rng(3).integers(0, 4, 300).astype(float)
    order = np.argsort(-probabilities, kind="stable")
    times = weights.astype(int)
    ranking = Ranking.of(labels, probabilities)
    many_labels, many = np.repeat(labels[order], times), np.repeat(probabilities[order], times)
    assert weighted.roc_auc(ranking, weights) == pytest.approx(roc_auc_score(many_labels, many))
    assert weighted.average_precision(ranking, weights) == pytest.approx(average_precision_score(many_labels, many))
    assert weighted.lift(ranking, weights) == pytest.approx(evaluate.lift(many_labels, many))


def test_weighted_scores_of_one_class_are_not_known() -> None:
    ranking = Ranking.of(np.zeros(3), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(weighted.roc_auc(ranking, np.ones(3)))
    assert np.isnan(weighted.average_precision(ranking, np.ones(3)))
    assert np.isnan(weighted.lift(ranking, np.ones(3)))


def mean_label(ranking: Ranking, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([weights @ ranking.labels / weights.sum()])


def test_the_bootstrap_interval_of_a_share_is_the_normal_one() -> None:
    labels, probabilities = draw(2000)
    found = bootstrap(labels, probabilities, mean_label, seed=0)[0]
    share = labels.mean()
    half = 1.96 * np.sqrt(share * (1 - share) / 2000)
    assert found.value == pytest.approx(share)
    assert (found.low, found.high) == pytest.approx((share - half, share + half), abs=0.1 * half)


def test_a_large_part_is_sampled_and_its_interval_stays_as_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = draw(8000)
    whole = bootstrap(labels, probabilities, mean_label, seed=0)[0]
    monkeypatch.setattr("churn.measures.intervals.MAX_RESAMPLED", 1000)
    sampled = bootstrap(labels, probabilities, mean_label, seed=0)[0]
    assert sampled.value == whole.value
    assert sampled.high - sampled.low == pytest.approx(whole.high - whole.low, rel=0.2)


def test_the_bootstrap_follows_its_seed() -> None:
    labels, probabilities = draw(200)
    one, same, other = (bootstrap(labels, probabilities, mean_label, seed=seed, resamples=50) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_what_is_undefined_in_every_resample_has_no_interval() -> None:
    labels, probabilities = draw(50)
    assert np.isnan(bootstrap(labels, probabilities, lambda *_: np.array([np.nan]), seed=0, resamples=5)[0].low)


def test_chance_calibration_error_covers_calibrated_models_and_not_others() -> None:
    exceeded = 0
    for seed in range(60):
        labels, probabilities = draw(1000, seed, decimals=6)
        exceeded += evaluate.calibration_error(labels, probabilities) > chance_calibration_error(
            probabilities, seed=0, draws=100
        )
    assert exceeded <= 9  # 3 expected
    labels, probabilities = draw(1000, decimals=6)
    off = np.clip(probabilities * 1.5, 0, 1)
    assert evaluate.calibration_error(labels, off) > chance_calibration_error(off, seed=0)


def test_chance_calibration_error_of_a_sampled_part_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, probabilities = draw(9000, decimals=6)
    whole = chance_calibration_error(probabilities, seed=0)
    monkeypatch.setattr("churn.measures.intervals.MAX_RESAMPLED", 2000)
    assert chance_calibration_error(probabilities, seed=0) == pytest.approx(whole, rel=0.25)


def test_the_rank_curve_holds_the_auc_and_the_precision() -> None:
    labels, probabilities = draw(500)
    curve = rank_customers(labels, probabilities)
    area = np.trapezoid(curve.found, curve.bothered)
    assert area == pytest.approx(roc_auc_score(labels, probabilities))
    for position in (1, 7, 30):
        contacted = probabilities >= curve.thresholds[position]
        assert curve.precision[position - 1] == pytest.approx(labels[contacted].mean())
        assert curve.lift[position - 1] == pytest.approx(labels[contacted].mean() / labels.mean())
        assert curve.contacted[position] == pytest.approx(contacted.mean())


def test_the_calibration_bins_hold_everyone_and_give_the_calibration_error() -> None:
    labels, probabilities = draw(700)
    probabilities[0] = 1.0
    bins = calibration_bins(labels, probabilities)
    assert sum(one.customers for one in bins) == 700
    assert sum(one.leavers for one in bins) == labels.sum()
    error = sum(one.customers * abs(one.predicted - one.observed.value) for one in bins) / 700
    assert error == pytest.approx(evaluate.calibration_error(labels, probabilities))


def test_the_first_tenth_of_the_lift_is_the_lift() -> None:
    labels, probabilities = draw(1000, decimals=6)
    tenths = lift_by_tenth(labels, probabilities)
    assert tenths[0] == pytest.approx(evaluate.lift(labels, probabilities))
    assert tenths.mean() == pytest.approx(1)


def test_thinning_keeps_the_ends_and_the_bound() -> None:
    (kept,) = thin(np.arange(10_000.0))
    assert len(kept) == 400
    assert (kept[0], kept[-1]) == (0, 9999)
    assert len(thin(np.arange(3.0))[0]) == 3
