"""Metrics of predicted probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from churn.measures.shares import calibration_error, confusion_matrix, lift

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Part:
    """The customers of one part of a split, with the network's predictions.

    Attributes
    ----------
    name : str
        ``"train"``, ``"validation"`` or ``"test"``.
    raw : ndarray of float64, shape (n, features)
    labels : ndarray of float64, shape (n,)
        0 or 1.
    probabilities : ndarray of float64, shape (n,)
    """

    name: str
    raw: NDArray[np.float64]
    labels: NDArray[np.float64]
    probabilities: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one part; means over customers unless stated otherwise.

    Attributes
    ----------
    customers : int
    log_loss : float
        In nats.
    roc_auc : float
    average_precision : float
    accuracy : float
        At the decision threshold.
    brier_score : float
    calibration_error : float
        Expected calibration error over `CALIBRATION_BINS` equal-width bins.
    lift : float
        Share of leavers among the top `LIFT_SHARE` divided by the share among all.
    confusion_matrix : list of two lists of int
        Rows: stayed, left; columns: predicted to stay, predicted to leave.
    """

    customers: int
    log_loss: float
    roc_auc: float
    average_precision: float
    accuracy: float
    brier_score: float
    calibration_error: float
    lift: float
    confusion_matrix: list[list[int]]


def score(
    labels: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    threshold: float = 0.5,
    weights: NDArray[np.float64] | None = None,
) -> Scores:
    """Compute the metrics of probabilities.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
        0 or 1, both present.
    probabilities : ndarray of float64, shape (n,)
    threshold : float
        A customer is predicted to leave above this probability.
    weights : ndarray of float64, shape (n,), optional
        Number of customers that each row stands for. Defaults to one.

    Raises
    ------
    ValueError
        If only one class is present, or a probability is not finite.
    """
    said = probabilities > threshold
    (stayed_stayed, stayed_left), (left_stayed, left_left) = matrix = confusion_matrix(labels, said, weights)
    customers = stayed_stayed + stayed_left + left_stayed + left_left
    return Scores(
        customers=customers,
        log_loss=float(log_loss(labels, probabilities, sample_weight=weights)),
        roc_auc=float(roc_auc_score(labels, probabilities, sample_weight=weights)),
        average_precision=float(average_precision_score(labels, probabilities, sample_weight=weights)),
        accuracy=(stayed_stayed + left_left) / customers,
        brier_score=float(brier_score_loss(labels, probabilities, sample_weight=weights)),
        calibration_error=calibration_error(labels, probabilities, weights=weights),
        lift=lift(labels, probabilities, weights=weights),
        confusion_matrix=matrix,
    )
