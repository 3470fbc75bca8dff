"""Takes out-of-fold logits at their word, or corrects them: Platt scaling (Platt, 1999) under a noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_probability(logits: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Return floor + (1 - 2 floor) · sigmoid(logits)."""
    probabilities: NDArray[np.float64] = floor + (1 - 2 * floor) * expit(logits)
    return probabilities


def to_logit(probabilities: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Undo `to_probability`, kept away from infinity."""
    inside = np.clip((probabilities - floor) / (1 - 2 * floor), 0.002, 0.998)
    return np.asarray(logit(inside), dtype=np.float64)


def fit_scaling(logits: NDArray[np.float64], labels: NDArray[np.float32], floor: float) -> tuple[float, float]:
    """Fit (slope, offset) so that slope · logit + offset has the least log loss.

    Parameters
    ----------
    logits : ndarray of float64, shape (n,)
        Out of fold, else the slope would be too steep.
    labels : ndarray of float32, shape (n,)
    floor : float
        The noise floor of the probabilities.
    """

    def mean_loss(scaling: NDArray[np.float64]) -> float:
        # Away from 0 and 1, where a slope that is tried may lead and a logarithm ends.
        probabilities = np.clip(to_probability(scaling[0] * logits + scaling[1], floor), 1e-12, 1 - 1e-12)
        return float(-np.mean(labels * np.log(probabilities) + (1 - labels) * np.log(1 - probabilities)))

    slope, offset = minimize(mean_loss, [1.0, 0.0], method="BFGS").x
    return float(slope), float(offset)
