"""Exact Shapley values by enumeration of all coalitions."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

from churn.reasons.protocol import Cube, Values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from churn.reasons.protocol import Network


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
        self._starts = find_starts(network)
        self._weights = [weigh_subsets(count) for count in range(self._features + 1)]

    def explain(self, customer: NDArray[np.float32]) -> Values:
        """Return the values of a customer, shape (entries,)."""
        cubes = group_by_differences(self._background != customer, self._starts)
        probability: float | None = None
        if cubes and not len(cubes[0].features):
            # The score of an equal customer, so that base and values add up: another run may differ in the last bit.
            probability = float(self._scores[cubes[0].rows[0]])
            cubes = cubes[1:]
        mixer = self._network.meet(customer)
        evaluations = 0
        features, parts = [], []
        for batch in divide(cubes, self._network.together):
            for cube, scores in zip(batch, mixer.run_cubes(batch), strict=True):
                if probability is None:
                    probability = float(scores[0, 0])
                scores[0], scores[-1] = probability, self._scores[cube.rows]
                parts.append((self._weights[len(cube.features)] @ scores).reshape(-1))
                features.append(cube.features.reshape(-1))
                evaluations += scores.size
        if probability is None:
            probability = self._network.run(customer)
        if not parts:
            return Values(probability, np.zeros(self._features))
        values = np.bincount(np.concatenate(features), np.concatenate(parts), self._features)
        return Values(probability, values / len(self._background), None, evaluations)


def find_starts(network: Network) -> NDArray[np.int64]:
    """Return the first entry of each feature, shape (d,)."""
    return np.searchsorted(network.entry_feature, np.arange(len(network.features)))


def group_by_differences(differs: NDArray[np.bool_], starts: NDArray[np.int64]) -> list[Cube]:
    """Group background customers by the number of features in which they differ from a customer, ascending from 0.

    Parameters
    ----------
    differs : ndarray of bool, shape (m, entries)
    starts : ndarray of int64, shape (d,)
        Result of `find_starts`.
    """
    if not len(starts):
        return [Cube(np.arange(len(differs)), np.empty((0, len(differs)), np.int64))]
    by_feature = np.logical_or.reduceat(differs, starts, axis=1)
    counts = by_feature.sum(axis=1)
    order = counts.argsort(kind="stable")
    features = by_feature[order].nonzero()[1]
    cubes, row, place = [], 0, 0
    for count, size in enumerate(np.bincount(counts).tolist()):
        if size:
            chosen = features[place : place + count * size].reshape(size, count).T
            cubes.append(Cube(order[row : row + size], chosen))
            row, place = row + size, place + count * size
    return cubes


def divide(cubes: Sequence[Cube], together: int) -> Iterator[Sequence[Cube]]:
    """Yield cubes, and parts of them, that have at most a number of mixtures together, or a single customer."""
    if cubes and sum(len(cube.rows) << len(cube.features) for cube in cubes) <= together:
        yield cubes
        return
    batch: list[Cube] = []
    room = together
    for cube in cubes:
        count, start = len(cube.features), 0
        while start < len(cube.rows):
            taken = room >> count
            if not taken and batch:
                yield batch
                batch, room = [], together
                continue
            part = slice(start, start + max(taken, 1))
            batch.append(Cube(cube.rows[part], cube.features[:, part]))
            start += len(batch[-1].rows)
            room = max(0, room - (len(batch[-1].rows) << count))
    if batch:
        yield batch


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
