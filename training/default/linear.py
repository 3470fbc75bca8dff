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
    members : list of (ndarray of float64, float)
        Weights and bias of each fold.
    """

    weights: NDArray[np.float64]
    bias: float
    logits: NDArray[np.float64]
    members: list[tuple[NDArray[np.float64], float]]

    def of_fold(self, fold: int) -> LinearBag:
        """Return the model of one fold alone."""
        weights, bias = self.members[fold]
        return LinearBag(weights, bias, self.logits, [(weights, bias)])


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
    nothing = np.zeros(held_out.shape[1])
    best = LinearBag(nothing, 0.0, np.zeros(len(labels)), [(nothing, 0.0) for _ in folds])
    for strength in strengths:
        logits = np.zeros(len(labels))
        members: list[tuple[NDArray[np.float64], float]] = []
        for inside, (fitted, left) in zip(encoded, folds, strict=True):
            model = LogisticRegression(C=strength, max_iter=STEPS, tol=1e-3).fit(inside, labels[fitted])
            logits[left] = model.decision_function(held_out[left])
            members.append((model.coef_[0], float(model.intercept_[0])))
        weights, biases = zip(*members, strict=True)
        bag = LinearBag(np.mean(weights, axis=0), float(np.mean(biases)), logits, members)
        if losses_of(labels, logits).mean() >= losses_of(labels, best.logits).mean():
            break
        best = bag
    return best
