"""The curves of the report as a limited number of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.measures.intervals import Interval, wilson
from churn.measures.shares import CALIBRATION_BINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_POINTS = 400
"""Maximum number of points of a curve."""


@dataclass(frozen=True, slots=True)
class RankCurve:
    """Results of contacting customers in descending order of probability; one point per distinct probability.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (k,)
        Infinity, then descending; customers at or above the threshold are contacted.
    contacted, found, bothered : ndarray of float64, shape (k,)
        Shares contacted of all customers, of the leavers, and of the others.
    base_rate : float
        Share of leavers.
    """

    thresholds: NDArray[np.float64]
    contacted: NDArray[np.float64]
    found: NDArray[np.float64]
    bothered: NDArray[np.float64]
    base_rate: float

    @property
    def precision(self) -> NDArray[np.float64]:
        """Precision: share of leavers among the contacted customers, from the second point on. Shape (points - 1,)."""
        return self.found[1:] * self.base_rate / self.contacted[1:]

    @property
    def lift(self) -> NDArray[np.float64]:
        """Precision divided by the base rate, from the second point on. An array of float64, shape (points - 1,)."""
        return self.found[1:] / self.contacted[1:]


def rank_customers(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> RankCurve:
    """Return the curve for ROC, precision-recall, gains and lift.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked, left = probabilities[order], labels[order] == 1
    ends = np.flatnonzero(np.append(np.diff(ranked), -np.inf))
    found, contacted = np.cumsum(left)[ends], ends + 1
    leavers, customers = int(left.sum()), len(labels)
    return RankCurve(
        thresholds=np.concatenate([[np.inf], ranked[ends]]),
        contacted=np.concatenate([[0.0], contacted / customers]),
        found=np.concatenate([[0.0], found / leavers]),
        bothered=np.concatenate([[0.0], (contacted - found) / (customers - leavers)]),
        base_rate=leavers / customers,
    )


def thin(*columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return at most `MAX_POINTS` evenly spaced rows of equally long columns, including the first and the last.

    Parameters
    ----------
    *columns : ndarray of float64, shape (n,)

    Returns
    -------
    tuple of ndarray of float64, shape (min(n, MAX_POINTS),)
    """
    rows = np.unique(np.linspace(0, len(columns[0]) - 1, MAX_POINTS).astype(np.int64))
    return tuple(column[rows] for column in columns)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Customers with similar probabilities: their number, mean probability and share of leavers."""

    low: float
    high: float
    customers: int
    leavers: int
    predicted: float
    observed: Interval


def calibration_bins(
    labels: NDArray[np.float64], probabilities: NDArray[np.float64], bins: int = CALIBRATION_BINS
) -> list[CalibrationBin]:
    """Return the non-empty bins of the expected calibration error.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    bins : int
    """
    index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    counts = np.bincount(index, minlength=bins)
    leavers = np.bincount(index, weights=labels, minlength=bins)
    sums = np.bincount(index, weights=probabilities, minlength=bins)
    return [
        CalibrationBin(
            low=number / bins,
            high=(number + 1) / bins,
            customers=int(counts[number]),
            leavers=int(leavers[number]),
            predicted=float(sums[number] / counts[number]),
            observed=wilson(float(leavers[number]), float(counts[number])),
        )
        for number in np.flatnonzero(counts).tolist()
    ]


def lift_by_tenth(labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lift in each tenth of the customers, ranked by descending probability.

    Customers with the same probability count as their mean, whatever their order.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    """
    _, runs, sizes = np.unique(-probabilities, return_inverse=True, return_counts=True)
    tenths = np.array_split(np.repeat(np.bincount(runs, labels) / sizes, sizes), 10)
    return np.array([tenth.mean() / labels.mean() if len(tenth) else np.nan for tenth in tenths])
