"""Scores of customers who count several times: what a bootstrap needs thousands of times, so sorted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.evaluate import LIFT_SHARE

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Customers, the likeliest to leave first.

    Attributes
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Sorted.
    starts : ndarray of int64
        Where each run of equal probabilities begins.
    """

    labels: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Ranking:
        """Sort customers."""
        order = np.argsort(-probabilities, kind="stable")
        probabilities = probabilities[order]
        starts = np.flatnonzero(np.diff(probabilities, prepend=np.inf))
        return cls(labels[order], probabilities, starts)

    def counts(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how many left and how many stayed in each run of equal probabilities."""
        left = np.add.reduceat(weights * self.labels, self.starts)
        return left, np.add.reduceat(weights, self.starts) - left


def roc_auc(ranking: Ranking, weights: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve, equal probabilities counting half (Hanley and McNeil, 1982)."""
    left, stayed = ranking.counts(weights)
    pairs = left.sum() * stayed.sum()
    if pairs == 0:
        return np.nan
    above = np.cumsum(left) - left / 2
    return float(above @ stayed / pairs)


def average_precision(ranking: Ranking, weights: NDArray[np.float64]) -> float:
    """Return the mean precision over the leavers, as scikit-learn defines it: no interpolation."""
    left, stayed = ranking.counts(weights)
    if left.sum() == 0:
        return np.nan
    found, contacted = np.cumsum(left), np.cumsum(left + stayed)
    precision = np.divide(found, contacted, out=np.zeros_like(found), where=contacted > 0)
    return float(left @ precision / found[-1])


def lift(ranking: Ranking, weights: NDArray[np.float64], share: float = LIFT_SHARE) -> float:
    """Return how many times more leavers the top share holds than a random one of its size would."""
    total = weights.sum()
    size = max(1.0, float(np.rint(share * total)))
    before = np.cumsum(weights) - weights
    top = np.clip(size - before, 0, weights)
    left = weights @ ranking.labels
    return float((top @ ranking.labels / size) / (left / total)) if left else np.nan


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Return a share; NaN of nothing."""
    return float(part / whole) if whole else np.nan
