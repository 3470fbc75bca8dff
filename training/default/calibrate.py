"""Takes out-of-fold logits at their word, or corrects them: Platt scaling (Platt, 1999) under a noise floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEWTON_STEPS = 20


def to_probability(logits: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Return floor + (1 - 2 floor) · sigmoid(logits)."""
    probabilities: NDArray[np.float64] = floor + (1 - 2 * floor) / (1 + np.exp(-logits))
    return probabilities


def to_logit(probabilities: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Undo `to_probability`, kept away from infinity."""
    inside = np.clip((probabilities - floor) / (1 - 2 * floor), 0.002, 0.998)
    logits: NDArray[np.float64] = np.log(inside / (1 - inside))
    return logits


def fit_scaling(logits: NDArray[np.float64], labels: NDArray[np.float32], floor: float) -> tuple[float, float]:
    """Fit (slope, offset) so that slope · logit + offset has the least log loss, by Fisher scoring.

    Parameters
    ----------
    logits : ndarray of float64, shape (n,)
        Out of fold, else the slope would be too steep.
    labels : ndarray of float32, shape (n,)
    floor : float
        The noise floor of the probabilities.
    """
    scaling = np.array([1.0, 0.0])
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    for _ in range(NEWTON_STEPS):
        sigmoid = 1 / (1 + np.exp(-design @ scaling))
        slope = (1 - 2 * floor) * sigmoid * (1 - sigmoid)
        probabilities = to_probability(design @ scaling, floor)
        variance = probabilities * (1 - probabilities)
        gradient = design.T @ (slope * (probabilities - labels) / variance)
        information = design.T @ (design * (slope**2 / variance)[:, None]) + 1e-6 * np.eye(2)
        scaling = scaling - np.linalg.solve(information, gradient)
    return float(scaling[0]), float(scaling[1])
