"""Estimated Shapley values of a network of many features, with their standard errors.

On a path from a background customer to the customer who is explained, one feature after the other changes, in a random
order; what the probability changes by in a feature's step, on average over all orders and background customers, is the
Shapley value. Each order is used together with its reverse (antithetic), whose errors cancel in part. Every background
customer has orders of its own and as many as any other, so that only the choice of orders is random, not that of
customers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.reasons.exact import find_starts, group_by_differences
from churn.reasons.protocol import Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.protocol import Mixer, Network


def count_least(features: int, customers: int) -> int:
    """Return the evaluations of one pair of orders for each background customer."""
    return 2 * customers * (features - 1)


class PathSampling:
    """Unbiased estimates of the Shapley values of a network, from a fixed set of orders.

    Parameters
    ----------
    network : Network
    background : ndarray of float32, shape (m, entries)
        What the network hears of the background customers.
    scores : ndarray of float64, shape (m,)
        Probabilities of the background customers.
    budget : int
        Mixtures that may be scored for a customer.
    seed : int
        Of the orders, which are the same for all customers.

    Raises
    ------
    ValueError
        If the budget does not suffice for one pair of orders for each background customer.
    """

    def __init__(
        self, network: Network, background: NDArray[np.float32], scores: NDArray[np.float64], budget: int, seed: int
    ) -> None:
        features, customers = len(network.features), len(background)
        least = count_least(features, customers)
        if budget < least:
            raise ValueError(
                f"a budget of {budget:,} evaluations is too small for {features} features and a background of "
                f"{customers} customers; allowed: at least {least:,}"
            )
        self._network, self._background, self._scores = network, background, scores
        self._pairs = budget // least
        draw = np.random.default_rng(seed)
        self._orders = draw.permuted(
            np.broadcast_to(np.arange(features), (customers, self._pairs, features)), axis=2
        )  # fmt: skip
        self._starts = find_starts(network)

    def explain(self, customer: NDArray[np.float32]) -> Values:
        """Return the estimated values of a customer, shape (entries,), with their standard errors."""
        probability = self._network.run(customer)
        found = np.zeros(self._orders.shape)
        mixer = self._network.meet(customer)
        evaluations = 1
        for rows, features in group_by_differences(self._background != customer, self._starts):
            if not len(features):
                continue
            orders = self._orders[rows]
            # What is equal needs no step: a random order of all features is one of any of them.
            differs = (orders[..., None] == features.T[:, None, None]).any(axis=-1)
            orders = orders[differs].reshape(len(rows), self._pairs, -1)
            steps, scored = self._walk(mixer, orders, rows, probability)
            evaluations += scored
            spread = np.zeros((len(rows), *found.shape[1:]))
            np.put_along_axis(spread, orders, steps, axis=2)
            found[rows] = spread
        return Values(probability, found.mean(axis=(0, 1)), self._estimate_errors(found), evaluations)

    def _walk(
        self, mixer: Mixer, orders: NDArray[np.int64], rows: NDArray[np.int64], probability: float
    ) -> tuple[NDArray[np.float64], int]:
        """Return what each step changes, on average over an order and its reverse, and the evaluations.

        Parameters
        ----------
        mixer : Mixer
        orders : ndarray of int64, shape (k, pairs, steps)
        rows : ndarray of int64, shape (k,)

        Returns
        -------
        ndarray of float64, shape (k, pairs, steps)
        int
        """
        customers, pairs, steps = orders.shape
        both = np.stack([orders, orders[:, :, ::-1]], axis=2).reshape(-1, steps)
        start = np.repeat(rows, 2 * pairs)
        scores = np.empty((len(both), steps + 1))
        scores[:, 0], scores[:, -1] = self._scores[start], probability
        if steps > 1:
            scores[:, 1:-1] = mixer.run_paths(both[:, :-1], start)
        changes = np.diff(scores, axis=1).reshape(customers, pairs, 2, steps)
        return (changes[:, :, 0] + changes[:, :, 1, ::-1]) / 2, len(both) * (steps - 1)

    def _estimate_errors(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard errors of the mean over customers and pairs, shape (d,).

        Parameters
        ----------
        found : ndarray of float64, shape (m, pairs, d)
            Independent for each pair.
        """
        customers = len(found)
        if self._pairs > 1:
            variance = found.var(axis=1, ddof=1).sum(axis=0) / self._pairs
        else:
            # One pair says nothing of its spread. Neighbours do, and the difference between them only adds to it.
            nearest = np.argsort(self._scores, kind="stable")
            variance = (np.diff(found[nearest, 0], axis=0) ** 2).mean(axis=0) * customers / 2 if customers > 1 else 0
        return np.sqrt(variance) / customers  # type: ignore[no-any-return]
