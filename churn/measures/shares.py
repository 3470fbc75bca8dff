"""Measures that count customers: confusion matrix, calibration error and lift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CALIBRATION_BINS = 15
"""Number of equal-width bins of the expected calibration error."""

LIFT_SHARE = 0.1
"""Fraction of the customers that a campaign contacts, for the lift."""


def confusion_matrix(
    labels: NDArray[np.float64], said: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> list[list[int]]:
    """Return counts of customers: rows stayed and left, columns predicted to stay and predicted to leave.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
        0 or 1.
    said : ndarray of bool, shape (n,)
        Whether the customer is predicted to leave.
    weights : ndarray of float64, shape (n,), optional
        Number of customers that each row stands for. Defaults to 1.
    """
    counts = np.bincount(2 * (labels == 1) + said, weights, minlength=4).astype(np.int64)
    matrix: list[list[int]] = counts.reshape(2, 2).tolist()
    return matrix


def calibration_error(
    labels: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    bins: int = CALIBRATION_BINS,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the expected calibration error (Naeini et al., 2015; binary form, equal-width bins).

    The mean over customers of the absolute difference between mean probability and share of leavers in their bin.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    bins : int
    weights : ndarray of float64, shape (n,), optional
        Number of customers that each row stands for. Defaults to 1.
    """
    index = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    counts = np.ones(len(labels)) if weights is None else weights
    gaps = np.bincount(index, weights=counts * (probabilities - labels), minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


def lift(
    labels: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    share: float = LIFT_SHARE,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the share of leavers among the customers ranked highest, relative to the share among all customers.

    Customers with the same probability count as their mean, whatever their order.

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
        Labels are 0 or 1.
    share : float
        Share of the customers that is ranked highest.
    weights : ndarray of float64, shape (n,), optional
        Number of customers that each row stands for. Defaults to 1.
    """
    order = np.argsort(-probabilities, kind="stable")
    counts = np.ones(len(labels)) if weights is None else weights[order]
    starts = np.flatnonzero(np.diff(probabilities[order], prepend=np.inf))
    return lift_of_runs(np.add.reduceat(counts * labels[order], starts), np.add.reduceat(counts, starts), share)


def lift_of_runs(found: NDArray[np.float64], sizes: NDArray[np.float64], share: float = LIFT_SHARE) -> float:
    """Return the lift of runs of customers with equal probabilities; of the last run, it counts the mean.

    Parameters
    ----------
    found, sizes : ndarray of float64, shape (runs,)
        Leavers and customers of each run, by descending probability.
    share : float
        Share of the customers that is ranked highest.
    """
    total, left = sizes.sum(), found.sum()
    if not left:
        return float("nan")
    size = max(1.0, float(np.rint(share * total)))
    top = np.clip(size - (np.cumsum(sizes) - sizes), 0, sizes)
    rates = np.divide(found, sizes, out=np.zeros_like(found), where=sizes > 0)
    return float((top @ rates / size) / (left / total))
