"""Weighted ranking metrics for the bootstrap, with customers sorted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.measures.shares import LIFT_SHARE, lift_of_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranking:
    """Customers sorted by descending probability.

    Attributes
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        In sorted order.
    starts : ndarray of int64
        Start of each run of equal probabilities.
    """

    labels: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Ranking:
        """Create a ranking from unsorted customers.

        Parameters
        ----------
        labels, probabilities : ndarray of float64, shape (n,)
            Labels are 0 or 1.
        """
        order = np.argsort(-probabilities, kind="stable")
        probabilities = probabilities[order]
        starts = np.flatnonzero(np.diff(probabilities, prepend=np.inf))
        return cls(labels[order], probabilities, starts)

    def counts(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weighted counts of leavers and stayers in each run of equal probabilities.

        Parameters
        ----------
        weights : ndarray of float64, shape (n,)
            In the order of the ranking.
        """
        left = np.add.reduceat(weights * self.labels, self.starts)
        return left, np.add.reduceat(weights, self.starts) - left


def roc_auc(ranking: Ranking, weights: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; ties count half (Hanley and McNeil, 1982).

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.
    """
    left, stayed = ranking.counts(weights)
    pairs = left.sum() * stayed.sum()
    if pairs == 0:
        return np.nan
    above = np.cumsum(left) - left / 2
    return float(above @ stayed / pairs)


def average_precision(ranking: Ranking, weights: NDArray[np.float64]) -> float:
    """Return the average precision as defined by scikit-learn, without interpolation.

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.
    """
    left, stayed = ranking.counts(weights)
    if left.sum() == 0:
        return np.nan
    found, contacted = np.cumsum(left), np.cumsum(left + stayed)
    precision = np.divide(found, contacted, out=np.zeros_like(found), where=contacted > 0)
    return float(left @ precision / found[-1])


def lift(ranking: Ranking, weights: NDArray[np.float64], share: float = LIFT_SHARE) -> float:
    """Return the share of leavers among the customers ranked highest, relative to the share among all customers.

    Parameters
    ----------
    ranking : Ranking
    weights : ndarray of float64, shape (n,)
        Weight of each customer, in the order of the ranking.
    share : float
        Share of the customers that is ranked highest.
    """
    left, stayed = ranking.counts(weights)
    return lift_of_runs(left, left + stayed, share)


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Return a share; NaN if the whole is 0.

    Parameters
    ----------
    part, whole : ndarray of float64, shape ()
    """
    return float(part / whole) if whole else np.nan
