"""Folds of the cross-validation, and the log losses by which choices are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
    """Rows to fit on, and rows held out."""


def split_folds(labels: NDArray[np.floating], folds: int, seed: int) -> list[Fold]:
    """Return stratified, shuffled folds: `folds` of them, fewer where a class has fewer rows.

    Parameters
    ----------
    labels : ndarray of float, shape (n,)
        0 or 1, at least two of each.
    folds : int
    seed : int
    """
    fewest = int(min((labels == 1).sum(), (labels == 0).sum()))
    splitter = StratifiedKFold(min(folds, fewest), shuffle=True, random_state=seed)
    return list(splitter.split(labels, labels))


def losses_of(labels: NDArray[np.floating], logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return each row's log loss in nats, shape (n,)."""
    return np.asarray(np.logaddexp(0.0, logits) - labels * logits, dtype=np.float64)


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean of paired differences and its standard error.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    """
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
