"""Permutation importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

REPEATS = 6
MAX_SCORED = 100_000
"""Maximum number of rows scored in total; a random sample is used for large parts or many columns."""
MIN_SAMPLE = 200


@dataclass(frozen=True, slots=True)
class Importance:
    """Permutation importance: increase of the log loss in nats per customer.

    Attributes
    ----------
    means, deviations : ndarray of float64, shape (features,)
        Mean and standard deviation over the repeats.
    customers : int
        Number of customers scored.
    repeats : int
    """

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    customers: int
    repeats: int

    @property
    def matters(self) -> NDArray[np.bool_]:
        """Whether shuffling a column changes any prediction, shape (features,)."""
        matters: NDArray[np.bool_] = (self.means != 0) | (self.deviations != 0)
        return matters


def permutation_importance(
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    raw: NDArray[np.float64],
    labels: NDArray[np.float64],
    *,
    seed: int,
) -> Importance:
    """Compute the increase of the log loss when each column is shuffled.

    Breiman (2001), Machine Learning 45:5-32, in the model-agnostic form of Fisher, Rudin and Dominici (2019), JMLR
    20(177):1-81. Columns with the same information share their importance, so each appears less important.

    Parameters
    ----------
    predict : callable
        Returns the probabilities of a raw matrix, shape (n,).
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    seed : int
        Draws the sample and the permutations.
    """
    rng = np.random.default_rng(seed)
    features = raw.shape[1]
    size = min(len(raw), max(MIN_SAMPLE, MAX_SCORED // (features * REPEATS)))
    if size < len(raw):
        rows = np.sort(rng.choice(len(raw), size, replace=False))
        raw, labels = raw[rows], labels[rows]
    before = _losses(labels, predict(raw)).mean()
    rises = np.empty((features, REPEATS))
    for feature in range(features):
        shuffled = np.tile(raw, (REPEATS, 1))
        shuffled[:, feature] = np.concatenate([rng.permutation(raw[:, feature]) for _ in range(REPEATS)])
        losses = _losses(np.tile(labels, REPEATS), predict(shuffled))
        rises[feature] = losses.reshape(REPEATS, size).mean(axis=1) - before
    return Importance(rises.mean(axis=1), rises.std(axis=1, ddof=1), size, REPEATS)


def _losses(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    losses: NDArray[np.float64] = -np.log(np.maximum(right, np.finfo(np.float64).eps))
    return losses
