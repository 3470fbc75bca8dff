from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from explained import make_dense

from churn.reasons import explainer as explainer_module
from churn.reasons import networks
from churn.reasons.explainer import Explainer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.scorer import Scorer

FEATURES = 7
CUSTOMERS = 12


@pytest.fixture
def rows() -> NDArray[np.float64]:
    draw = np.random.default_rng(0)
    rows = 1.5 * draw.normal(size=(CUSTOMERS + 4, FEATURES))
    rows[:, :2] = np.sign(rows[:, :2])  # equal in many rows
    return rows


@pytest.fixture
def scorer(tmp_path: Path, rows: NDArray[np.float64]) -> Scorer:
    return make_dense(tmp_path, FEATURES, 1, rows[4:], unheard=[6])


def estimate(scorer: Scorer, pairs: int, seed: int = 0) -> Explainer:
    """Return an explainer with a number of pairs of orders for each background customer."""
    return Explainer(scorer, exact_features=3, budget=pairs * 2 * CUSTOMERS * (FEATURES - 2), seed=seed)


@pytest.mark.parametrize("pairs", [1, 4])
def test_estimates_are_unbiased_and_their_errors_are_the_true_ones(
    scorer: Scorer, rows: NDArray[np.float64], pairs: int
) -> None:
    exact = Explainer(scorer).explain(rows[:4])
    found = [estimate(scorer, pairs, seed).explain(rows[:4]) for seed in range(60)]
    points = np.array([one.points for one in found])
    true_error = np.sqrt(((points - exact.points) ** 2).mean(axis=0))[:, :6]
    # The mean of 60 runs has the error of one divided by the root of 60.
    assert (np.abs(points.mean(axis=0) - exact.points)[:, :6] <= 4 * true_error / np.sqrt(60)).all()
    stated = np.sqrt(np.mean([one.errors**2 for one in found if one.errors is not None], axis=0))[:, :6]
    ratio = np.sqrt((stated**2).mean() / (true_error**2).mean())
    # With one pair the difference of neighbours is part of the stated error, which is thus too large.
    assert 0.85 <= ratio <= (1.15 if pairs > 1 else 6)
    assert true_error.max() > 1e-5


def test_estimates_add_up_and_stay_within_the_budget(scorer: Scorer, rows: NDArray[np.float64]) -> None:
    explainer = estimate(scorer, 3)
    found = explainer.explain(rows[:4])
    assert not explainer.exact
    np.testing.assert_allclose(explainer.base + found.points.sum(axis=1), found.probabilities, atol=1e-12, rtol=0)
    assert found.errors is not None
    assert (found.points[:, 6] == 0).all()
    assert (found.errors[:, 6] == 0).all()
    budget = 3 * 2 * CUSTOMERS * (FEATURES - 2)
    # Steps of equal values are left out.
    assert budget / 3 < found.evaluations / 4 - 1 < budget


def test_the_same_seed_gives_the_same_answer_and_another_one_another(scorer: Scorer, rows: NDArray[np.float64]) -> None:
    first, again, other = (estimate(scorer, 2, seed).explain(rows[:2]) for seed in (0, 0, 1))
    assert (first.points == again.points).all()
    assert first.errors is not None
    assert again.errors is not None
    assert (first.errors == again.errors).all()
    assert (first.points != other.points).any()


def test_both_forms_of_the_network_estimate_the_same(
    scorer: Scorer, rows: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    summed = estimate(scorer, 2).explain(rows[:4])
    monkeypatch.setattr(networks, "find_mixing_layer", lambda *_: None)
    composed = estimate(scorer, 2).explain(rows[:4])
    np.testing.assert_allclose(composed.points, summed.points, atol=1e-6, rtol=0)


def test_more_evaluations_make_the_errors_smaller(scorer: Scorer, rows: NDArray[np.float64]) -> None:
    few, many = (estimate(scorer, pairs).explain(rows[:4]).errors for pairs in (4, 64))
    assert few is not None
    assert many is not None
    assert 2.5 < few.mean() / many.mean() < 6.5  # the root of 16


def test_a_budget_for_less_than_a_pair_of_orders_is_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match=r"119 evaluations is too small .* 6 features .* 12 customers; .* least 120"):
        Explainer(scorer, exact_features=5, budget=119)


def test_by_default_the_budget_suffices_for_any_number_of_features(
    scorer: Scorer, rows: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer_module, "BUDGET", 10)
    found = Explainer(scorer, exact_features=5).explain(rows[:2])
    assert found.errors is not None
    assert (found.errors[:, :6] > 0).all()
    assert 10 < found.evaluations / 2 <= 1 + 2 * CUSTOMERS * (FEATURES - 2)
