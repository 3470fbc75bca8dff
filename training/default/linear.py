"""A regularised logistic regression on the bins: a generalised additive model, cross-validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

from training.default.folds import losses_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from training.default.folds import Fold

STRENGTHS = (0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the ridge penalty that are tried, strongest penalty first."""
STEPS = 300


@dataclass(frozen=True, slots=True)
class LinearBag:
    """The mean of the folds' models.

    Attributes
    ----------
    weights : ndarray of float64, shape (width,)
    bias : float
    logits : ndarray of float64, shape (n,)
        Of each row by the fold that was not fitted on it.
    """

    weights: NDArray[np.float64]
    bias: float
    logits: NDArray[np.float64]


def fit_linear(
    encoded: Sequence[NDArray[np.float32]],
    held_out: NDArray[np.float32],
    labels: NDArray[np.float32],
    folds: list[Fold],
    strengths: Sequence[float] = STRENGTHS,
) -> LinearBag:
    """Fit one logistic regression per fold, with the penalty that is best on the rows held out.

    Parameters
    ----------
    encoded : sequence of ndarray of float32, shape (rows fitted on, width)
        What each fold is fitted on.
    held_out : ndarray of float32, shape (n, width)
        All rows as the folds see them that are not fitted on them.
    labels : ndarray of float32, shape (n,)
    folds : list of Fold
    strengths : sequence of float
        Tried in this order until one is worse than the one before.
    """
    best = LinearBag(np.zeros(held_out.shape[1]), 0.0, np.zeros(len(labels)))
    for strength in strengths:
        logits, weights, biases = np.zeros(len(labels)), [], []
        for inside, (fitted, left) in zip(encoded, folds, strict=True):
            model = LogisticRegression(C=strength, max_iter=STEPS, tol=1e-3).fit(inside, labels[fitted])
            logits[left] = model.decision_function(held_out[left])
            weights.append(model.coef_[0])
            biases.append(model.intercept_[0])
        bag = LinearBag(np.mean(weights, axis=0), float(np.mean(biases)), logits)
        if losses_of(labels, logits).mean() >= losses_of(labels, best.logits).mean():
            break
        best = bag
    return best
