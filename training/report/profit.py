r"""Profit of a retention campaign: profit at a threshold, break-even, and expected maximum profit.

Contacting a customer costs `f`. A customer who would stay anyway accepts the offer, which costs `d`. A customer who
would leave accepts it with probability gamma and then stays, which is worth the customer's value `V` minus the cost of
the offer; otherwise there is no further cost. Contacting a customer who leaves with probability `p` is therefore
profitable if

    p * gamma * (V - d) - (1 - p) * d - f > 0,    which means    p > (d + f) / (gamma * (V - d) + d)

which is the profit of Verbraken, Verbeke and Baesens (2013), IEEE TKDE 25(5):961-973, after Neslin et al. (2006),
Journal of Marketing Research 43(2):204-211, for one customer and without the fixed cost of a campaign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import betainc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.ranking import Ranking
    from training.report.data import Costs

CONCENTRATION = 20.0
"""Sum of the parameters of the Beta distribution of gamma; with a mean of 0.3 it is the paper's Beta(6, 14)."""


@dataclass(frozen=True, slots=True)
class MaximumProfit:
    """Maximum profit of a ranking of customers.

    Attributes
    ----------
    profit : float
        Profit per customer, contacted or not.
    share : float
        Share of customers contacted.
    """

    profit: float
    share: float


def break_even(costs: Costs) -> float | None:
    """Return the probability above which contacting a customer is profitable; None if it never is."""
    gain = costs.accept_rate * (costs.customer_value - costs.offer_cost) + costs.offer_cost
    cost = costs.offer_cost + costs.contact_cost
    if gain <= 0:
        return None
    threshold = cost / gain
    return threshold if threshold < 1 else None


def contact_profit(labels: NDArray[np.float64], costs: Costs) -> NDArray[np.float64]:
    """Return the expected profit of contacting each customer, given whether the customer would have left.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
        0 or 1.
    costs : Costs
    """
    left = costs.accept_rate * (costs.customer_value - costs.offer_cost) - costs.contact_cost
    stayed = -costs.offer_cost - costs.contact_cost
    return np.where(labels == 1, left, stayed)


def profit_at(labels: NDArray[np.float64], probabilities: NDArray[np.float64], threshold: float, costs: Costs) -> float:
    """Return the profit per customer if customers above the threshold are contacted.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    threshold : float
    costs : Costs
    """
    return float(contact_profit(labels, costs)[probabilities > threshold].sum() / len(labels))


def acceptance_law(costs: Costs) -> tuple[float, float] | None:
    """Return the parameters of the Beta distribution of gamma; None if the mean is 0 or 1."""
    if not 0 < costs.accept_rate < 1:
        return None
    return CONCENTRATION * costs.accept_rate, CONCENTRATION * (1 - costs.accept_rate)


def hull_blocks(ranking: Ranking, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the segments of the convex hull of the ROC curve, as shares of customers and of leavers among them.

    They are computed by isotonic regression of the labels on the scores, since pooling adjacent violators yields the
    convex hull (Fawcett and Niculescu-Mizil, 2007, Machine Learning 68:97-106).

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.

    Returns
    -------
    sizes : ndarray of float64
        Share of all customers in each group of equal scores.
    leavers : ndarray of float64
        Share of leavers in the segment that contains the group, descending.
    """
    left, stayed = ranking.counts(weights)
    sizes = left + stayed
    seen = sizes > 0
    left, sizes = left[seen], sizes[seen]
    leavers: NDArray[np.float64] = isotonic_regression(left / sizes, weights=sizes, increasing=False).x
    return sizes / sizes.sum(), leavers


def expected_maximum_profit(ranking: Ranking, weights: NDArray[np.float64], costs: Costs) -> MaximumProfit:
    """Return the expected maximum profit for churn, EMPC, of Verbraken et al. (2013).

    The acceptance rate is not known in advance, so the maximum profit is averaged over its Beta distribution. On a
    segment of the ROC hull with a share q of leavers, contacting is profitable for gamma above
    gamma* = ((1 - q) d + f) / (q (V - d)). The integral of the profit over gamma > gamma* is a difference of incomplete
    beta functions, and EMPC is its mean over the customers: the paper's closed form, summed by segment.

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.
    costs : Costs
    """
    law = acceptance_law(costs)
    if law is None:
        return maximum_profit(ranking, weights, costs)
    sizes, leavers = hull_blocks(ranking, weights)
    gain = leavers * max(costs.customer_value - costs.offer_cost, 0.0)
    cost = (1 - leavers) * costs.offer_cost + costs.contact_cost
    start = np.clip(np.divide(cost, gain, out=np.ones_like(gain), where=gain > 0), 0, 1)
    alpha, beta = law
    pays = 1 - betainc(alpha, beta, start)
    accepted = alpha / (alpha + beta) * (1 - betainc(alpha + 1, beta, start))
    return MaximumProfit(float(sizes @ (gain * accepted - cost * pays)), float(sizes @ pays))


def maximum_profit(ranking: Ranking, weights: NDArray[np.float64], costs: Costs) -> MaximumProfit:
    """Return the maximum profit for churn, MPC: the same with a fixed acceptance rate.

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.
    costs : Costs
    """
    sizes, leavers = hull_blocks(ranking, weights)
    gain = costs.accept_rate * leavers * (costs.customer_value - costs.offer_cost)
    profit = gain - (1 - leavers) * costs.offer_cost - costs.contact_cost
    return MaximumProfit(float(sizes @ np.maximum(profit, 0)), float(sizes[profit > 0].sum()))


def profit_curve(
    labels: NDArray[np.float64], probabilities: NDArray[np.float64], costs: Costs
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the profit of every threshold.

    Returns
    -------
    thresholds : ndarray of float64, shape (k,)
        Descending from 1; customers at or above the threshold are contacted.
    shares : ndarray of float64, shape (k,)
        Share of the customers contacted.
    profits : ndarray of float64, shape (k,)
        Profit per customer.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    ends = np.flatnonzero(np.append(np.diff(ranked), -math.inf))
    earned = np.cumsum(contact_profit(labels[order], costs))[ends] / len(labels)
    return (
        np.concatenate([[1.0], ranked[ends]]),
        np.concatenate([[0.0], (ends + 1) / len(labels)]),
        np.concatenate([[0.0], earned]),
    )
