"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.networks import Network

ROWS_TOGETHER = 2048
"""Mixtures that are scored together, so that what is computed of them fits into the CPU cache."""


class Enumeration:
    """Shapley values of a network of few features.

    A Shapley value against a background is the mean of those against each of its customers alone. Against one of them,
    a feature in which the two customers are equal has the value 0 and may be left out of the coalitions: if they
    differ in k features, 2^k - 2 mixtures of them are scored and not 2^d.

    Parameters
    ----------
    network : Network
    background : ndarray of float32, shape (m, entries)
        What the network hears of the background customers.
    scores : ndarray of float64, shape (m,)
        Probabilities of the background customers.
    """

    def __init__(self, network: Network, background: NDArray[np.float32], scores: NDArray[np.float64]) -> None:
        self._network, self._background, self._scores = network, background, scores
        self._features = len(network.features)
        self._owners = own_entries(network)
        self._weights = [weigh_subsets(count) for count in range(self._features + 1)]

    def explain(
        self, customer: NDArray[np.float32], probability: float
    ) -> tuple[NDArray[np.float64], None, int]:  # fmt: skip
        """Return the values of a customer.

        Parameters
        ----------
        customer : ndarray of float32, shape (entries,)
        probability : float

        Returns
        -------
        values : ndarray of float64, shape (d,)
        None
            In place of standard errors.
        evaluations : int
            Mixtures that were scored.
        """
        values = np.zeros(self._features)
        mixer = self._network.meet(customer)
        evaluations = 0
        for rows, features in group_by_differences(self._background != customer, self._owners):
            count = features.shape[1]
            together = max(1, ROWS_TOGETHER >> count)
            for start in range(0, len(rows), together):
                block = slice(start, start + together)
                scores = np.empty((1 << count, len(rows[block])))
                scores[0], scores[-1] = probability, self._scores[rows[block]]
                if count > 1:
                    scores[1:-1] = mixer.run_subsets(features[block], rows[block])
                    evaluations += scores[1:-1].size
                parts = self._weights[count] @ scores
                values += np.bincount(features[block].T.reshape(-1), parts.reshape(-1), self._features)
        return values / len(self._background), None, evaluations


def own_entries(network: Network) -> NDArray[np.float32]:
    """Return 1 where an entry belongs to a feature, else 0, shape (entries, d)."""
    owners: NDArray[np.bool_] = network.entry_feature[:, None] == np.arange(len(network.features))
    return owners.astype(np.float32)


def group_by_differences(
    differs: NDArray[np.bool_], owners: NDArray[np.float32]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Group background customers by the number of features in which they differ from a customer.

    Those who differ in none are left out.

    Parameters
    ----------
    differs : ndarray of bool, shape (m, entries)
    owners : ndarray of float32, shape (entries, d)
        Result of `own_entries`.

    Returns
    -------
    list of (rows, features)
        Arrays of int64, of shape (customers of the group,) and (customers of the group, features that differ).
    """
    by_feature = differs.astype(np.float32) @ owners > 0
    counts = by_feature.sum(axis=1)
    groups = []
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        groups.append((rows, np.nonzero(by_feature[rows])[1].reshape(len(rows), count)))
    return groups


def weigh_subsets(features: int) -> NDArray[np.float64]:
    """Return the weight in each value of each subset of features that are the background's, shape (d, 2^d).

    A coalition S of the customer's features is the complement of a subset. Its weight in the value of a feature i is
    (|S| - 1)! (d - |S|)! / d! if i is in S, and -|S|! (d - |S| - 1)! / d! if it is not.

    Parameters
    ----------
    features : int
        Number of features, d.
    """
    subsets = np.arange(1 << features)
    taken = (subsets >> np.arange(features)[:, None] & 1) == 0
    sizes = features - np.bitwise_count(subsets).astype(int)
    joined = np.array([0.0, *(1 / (size * comb(features, size)) for size in range(1, features + 1))])
    left = np.array([*(1 / ((features - size) * comb(features, size)) for size in range(features)), 0.0])
    weights: NDArray[np.float64] = np.where(taken, joined[sizes], -left[sizes])
    return weights
