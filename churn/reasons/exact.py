"""Exact Shapley values by enumeration of all coalitions, each different mixture scored once."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.networks import Network


class Enumeration:
    """Shapley values of a network of few features.

    A mixture takes the features of a subset from a background customer, and the others from the customer who is
    explained. Subsets are whole numbers with a bit for each feature. Mixtures are scored only if they differ:

    - background customers who are equal in the features of a subset share one mixture;
    - a feature in which a background customer equals the customer needs no exchange, so that a background customer who
      differs in k features needs 2^k mixtures instead of 2^d.

    Parameters
    ----------
    network : Network
    background : ndarray of float32, shape (m, entries)
        What the network hears of the background customers.
    """

    def __init__(self, network: Network, background: NDArray[np.float32]) -> None:
        self._network, self._background = network, background
        features = len(network.features)
        self._bits = 1 << network.entry_feature
        self._places, subsets, rows = _number_mixtures(network, background)
        self._subsets, self._rows = subsets, rows
        network.fix(background, subsets, rows)
        self._all = np.arange(1 << features)[:, None]
        self._weights = _weigh_subsets(features)

    def explain(self, customer: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, int]:
        """Return the values of a customer.

        Parameters
        ----------
        customer : ndarray of float32, shape (entries,)

        Returns
        -------
        values : ndarray of float64, shape (d,)
        probability : float
        evaluations : int
            Mixtures that were scored.
        """
        differs = np.bitwise_or.reduce(np.where(self._background != customer, self._bits, 0), axis=1)
        mixtures = np.flatnonzero((self._subsets & ~differs[self._rows]) == 0)
        scores = np.empty(len(self._subsets))
        scores[mixtures] = self._network.run(customer, mixtures)
        places = self._places[self._all & differs, np.arange(len(differs))]
        means = scores[places].mean(axis=1)
        return self._weights @ means, float(scores[0]), len(mixtures)


def _number_mixtures(
    network: Network, background: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """List the different mixtures; number 0 is the customer without a change.

    Returns
    -------
    places : ndarray of int64, shape (2^d, m)
        Number of the mixture of each subset with each background customer.
    subsets, rows : ndarray of int64, shape (mixtures,)
        Subset of each mixture, and the first of its background customers.
    """
    features = len(network.features)
    codes = np.zeros((features, len(background)), np.int64)
    for feature in range(features):
        entries = background[:, network.entry_feature == feature]
        codes[feature] = np.unique(entries, axis=0, return_inverse=True)[1].reshape(-1)
    groups = np.zeros((1 << features, len(background)), np.int64)
    places = np.zeros_like(groups)
    subsets, rows = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    count = 1
    for subset in range(1, 1 << features):
        last = subset.bit_length() - 1
        pairs = groups[subset ^ (1 << last)] * len(background) + codes[last]
        _, first, groups[subset] = np.unique(pairs, return_index=True, return_inverse=True)
        places[subset] = count + groups[subset]
        subsets.append(np.full(len(first), subset))
        rows.append(first)
        count += len(first)
    return places, np.concatenate(subsets), np.concatenate(rows)


def _weigh_subsets(features: int) -> NDArray[np.float64]:
    """Return the weight of each subset of the background's features in each value, shape (d, 2^d).

    A coalition S of the customer's features is the complement of a subset. Its weight in the value of a feature i is
    (|S| - 1)! (d - |S|)! / d! if i is in S, and -|S|! (d - |S| - 1)! / d! if it is not.
    """
    subsets = np.arange(1 << features)
    taken = (subsets >> np.arange(features)[:, None] & 1) == 0
    sizes = features - np.bitwise_count(subsets).astype(int)
    joined = np.array([0.0, *(1 / (size * comb(features, size)) for size in range(1, features + 1))])
    left = np.array([*(1 / ((features - size) * comb(features, size)) for size in range(features)), 0.0])
    weights: NDArray[np.float64] = np.where(taken, joined[sizes], -left[sizes])
    return weights
