"""Choose the background: the training customers that predictions are explained against.

A Shapley value is a sum of mean probabilities of mixtures, in which the background's customers have some features of
the customer who is explained. So the chosen customers should have the means that all have, for mixtures with any
customer. One customer is chosen from each stratum of the probability; then each is exchanged in turn for the one of its
stratum that brings the means of a sample of mixtures closest to those of all. 100 customers chosen this way are as good
as thousands drawn at random (docs/reasons.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CUSTOMERS = 100

MIXTURES = 128
"""Mixtures whose means are compared."""

REPRESENTED = 50_000
"""Customers whose means are aimed at, drawn at random if there are more."""

CANDIDATES, FEW_CANDIDATES = 10_000, 2_500
"""Customers that are chosen from, at most; few where the network hears too much for exact values: estimates of them
err more than what the others would gain."""

ROUNDS = 6
"""How often each customer may be exchanged; few rounds change anything after three."""

PROBABILITY_WEIGHT = 4.0
"""How much the mean probability, which is the base of all explanations, counts compared with that of a mixture."""


def choose_background(
    raw: NDArray[np.float64],
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    seed: int,
    customers: int = CUSTOMERS,
    candidates: int = CANDIDATES,
) -> NDArray[np.float64]:
    """Choose customers whose mixtures have the mean probabilities that those of all customers have.

    Parameters
    ----------
    raw : ndarray of float64, shape (n, features)
        The training set.
    predict : callable
        Returns the probabilities, shape (k,), of a raw matrix.
    seed : int
    customers : int
    candidates : int
        Customers that are chosen from, spread evenly over the probabilities of all.

    Returns
    -------
    ndarray of float64, shape (min(customers, n), features)
        In the order of their probabilities.
    """
    draw = np.random.default_rng(seed)
    raw = raw[draw.permutation(len(raw))[:REPRESENTED]]
    raw, probabilities = _spread(raw, predict(raw), max(candidates, customers), draw)
    strata = np.array_split(np.argsort(probabilities, kind="stable"), min(customers, len(raw)))
    chosen = np.array([draw.choice(stratum) for stratum in strata])
    statistics = np.empty((len(raw), MIXTURES + 1), np.float32)
    statistics[:, 0] = PROBABILITY_WEIGHT * probabilities
    for column in range(1, MIXTURES + 1):
        statistics[:, column] = predict(_mix(raw, draw))
    return raw[_exchange(chosen, strata, statistics - statistics.mean(axis=0))]


def _spread(
    raw: NDArray[np.float64], probabilities: NDArray[np.float64], most: int, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return customers at equal steps in the order of their probabilities, so that their mean is that of all."""
    if len(raw) <= most:
        return raw, probabilities
    places = ((np.arange(most) + draw.random()) * len(raw) / most).astype(np.int64)
    chosen = np.argsort(probabilities, kind="stable")[places]
    return raw[chosen], probabilities[chosen]


def _mix(raw: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the customers with some features of one of them, as many as any number with equal probability."""
    taken = draw.permutation(raw.shape[1])[: draw.integers(1, max(2, raw.shape[1]))]
    mixed = raw.copy()
    mixed[:, taken] = raw[draw.integers(len(raw)), taken]
    return mixed


def _exchange(
    chosen: NDArray[np.int64], strata: list[NDArray[np.int64]], statistics: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Exchange customers within their strata until the sum of their statistics is as close to zero as it gets.

    Parameters
    ----------
    chosen : ndarray of int64, shape (strata,)
    strata : list of ndarray of int64
    statistics : ndarray of float32, shape (n, statistics)
        Of mean zero.
    """
    chosen = chosen.copy()
    squares = np.square(statistics).sum(axis=1)
    total = statistics[chosen].sum(axis=0)
    for _ in range(ROUNDS):
        before = chosen.copy()
        for place, stratum in enumerate(strata):
            others = total - statistics[chosen[place]]
            best = stratum[np.argmin(squares[stratum] + 2 * statistics[stratum] @ others)]
            chosen[place], total = best, others + statistics[best]
        if (chosen == before).all():
            break
    return chosen
