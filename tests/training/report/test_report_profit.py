from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law

from churn.measures.ranking import Ranking
from training.report import Costs
from training.report.profit import (
    acceptance_law,
    break_even,
    expected_maximum_profit,
    hull_blocks,
    maximum_profit,
    profit_at,
    profit_curve,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Sample: TypeAlias = "tuple[NDArray[np.float64], NDArray[np.float64]]"


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(1)
    probabilities = rng.beta(1, 3, 400).round(2)  # many ties
    labels = (rng.random(400) < probabilities).astype(float)
    return labels, probabilities


def best_profit(labels: NDArray[np.float64], probabilities: NDArray[np.float64], gamma: float, costs: Costs) -> float:
    """The best profit of any cutoff at one acceptance rate, by trying them all."""
    best = 0.0
    for cutoff in np.unique(probabilities):
        contacted = labels[probabilities >= cutoff]
        left, stayed = (contacted == 1).sum(), (contacted == 0).sum()
        earned = left * gamma * (costs.customer_value - costs.offer_cost) - stayed * costs.offer_cost
        best = max(best, (earned - len(contacted) * costs.contact_cost) / len(labels))
    return best


@pytest.mark.parametrize(
    "costs", [Costs(), Costs(1500, 30, 4, 0.12), Costs(50, 0, 3, 0.5), Costs(200, 10, 0, 0.9)], ids=str
)
def test_empc_is_the_integral_of_the_best_profit_over_the_acceptance_rate(sample: Sample, costs: Costs) -> None:
    labels, probabilities = sample
    law = beta_law(20 * costs.accept_rate, 20 * (1 - costs.accept_rate))
    grid = (np.arange(500) + 0.5) / 500  # the midpoint rule
    profits = np.array([best_profit(labels, probabilities, gamma, costs) for gamma in grid])
    expected = (profits * law.pdf(grid)).mean()
    found = expected_maximum_profit(Ranking.of(labels, probabilities), np.ones(len(labels)), costs)
    assert found.profit == pytest.approx(expected, rel=2e-4)
    assert 0 <= found.share <= 1


def test_empc_of_a_perfect_ranking_in_closed_form() -> None:
    labels = np.array([1.0] * 3 + [0.0] * 7)
    costs = Costs(200, 10, 1, 0.3)
    # All leavers and nobody else are contacted, once the gain of one outweighs the contact: gamma > 1 / 190.
    law = beta_law(6, 14)
    expected = 0.3 * quad(lambda gamma: (190 * gamma - 1) * law.pdf(gamma), 1 / 190, 1)[0]
    found = expected_maximum_profit(Ranking.of(labels, labels), np.ones(10), costs)
    assert found.profit == pytest.approx(expected, rel=1e-9)
    assert found.share == pytest.approx(0.3 * law.sf(1 / 190))


def test_empc_with_the_published_default_acceptance_is_beta_6_14() -> None:
    assert acceptance_law(Costs()) == pytest.approx((6, 14))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_certain_acceptance_rate_makes_empc_the_maximum_profit(sample: Sample, rate: float) -> None:
    labels, probabilities = sample
    costs = Costs(accept_rate=rate)
    ranking, weights = Ranking.of(labels, probabilities), np.ones(len(labels))
    expected = best_profit(labels, probabilities, rate, costs)
    assert expected_maximum_profit(ranking, weights, costs).profit == pytest.approx(expected)


def test_the_maximum_profit_is_the_best_cutoff(sample: Sample) -> None:
    labels, probabilities = sample
    found = maximum_profit(Ranking.of(labels, probabilities), np.ones(len(labels)), Costs())
    assert found.profit == pytest.approx(best_profit(labels, probabilities, 0.3, Costs()))
    assert found.profit == pytest.approx(profit_curve(labels, probabilities, Costs())[2].max())


def test_counting_customers_twice_is_the_same_as_having_them_twice(sample: Sample) -> None:
    labels, probabilities = sample
    weights = np.random.default_rng(2).integers(0, 4, len(labels)).astype(float)
    ranking = Ranking.of(labels, probabilities)
    order = np.argsort(-probabilities, kind="stable")
    times = weights.astype(int)
    repeated = Ranking.of(np.repeat(labels[order], times), np.repeat(probabilities[order], times))
    assert expected_maximum_profit(ranking, weights, Costs()).profit == pytest.approx(
        expected_maximum_profit(repeated, np.ones(times.sum()), Costs()).profit
    )


def test_the_hull_falls_and_keeps_all_leavers(sample: Sample) -> None:
    labels, probabilities = sample
    sizes, leavers = hull_blocks(Ranking.of(labels, probabilities), np.ones(len(labels)))
    assert (np.diff(leavers) <= 1e-12).all()
    assert sizes @ leavers == pytest.approx(labels.mean())


def test_the_break_even_of_the_published_costs() -> None:
    assert break_even(Costs()) == pytest.approx(11 / 67)


def test_at_the_break_even_a_contact_earns_nothing() -> None:
    costs = Costs(700, 25, 3, 0.2)
    p = break_even(costs)
    assert p is not None
    gain = p * (costs.accept_rate * (700 - 25)) - (1 - p) * 25 - 3
    assert gain == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("costs", [Costs(5, 10, 1, 0.3), Costs(0, 0, 0, 0.3), Costs(accept_rate=0.0)], ids=str)
def test_there_is_no_break_even_where_a_contact_never_pays(sample: Sample, costs: Costs) -> None:
    labels, probabilities = sample
    assert break_even(costs) is None
    assert expected_maximum_profit(Ranking.of(labels, probabilities), np.ones(400), costs).profit == pytest.approx(0)


def test_the_profit_of_a_threshold_counts_those_above_it() -> None:
    labels, probabilities = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.5, 0.1])
    # Above 0.5: one leaver (0.3 * 190 - 1 = 56) and one stayer (-11).
    assert profit_at(labels, probabilities, 0.5, Costs()) == pytest.approx((56 - 11) / 4)


def test_the_profit_curve_agrees_with_the_profit_of_each_threshold(sample: Sample) -> None:
    labels, probabilities = sample
    thresholds, shares, profits = profit_curve(labels, probabilities, Costs())
    assert (shares[0], profits[0]) == (0, 0)
    for threshold, share, profit in zip(thresholds[1:], shares[1:], profits[1:], strict=True):
        assert profit == pytest.approx(profit_at(labels, probabilities, threshold - 1e-9, Costs()))
        assert share == pytest.approx((probabilities >= threshold).mean())


@pytest.mark.parametrize(
    "wrong", [{"customer_value": -1}, {"offer_cost": float("nan")}, {"contact_cost": -0.1}, {"accept_rate": 1.2}]
)
def test_impossible_costs_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Costs(**wrong)
