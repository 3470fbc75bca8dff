"""Columns of the matrix by feature, and the permutation importance of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.default.folds import losses_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor


def group_columns(preprocessor: Preprocessor) -> list[NDArray[np.int64]]:
    """Return the columns of the matrix of each feature, in the order of the raw matrix.

    Returns
    -------
    list of ndarray of int64, each of shape (columns of the feature,)
    """
    sources = preprocessor.sources
    return [np.flatnonzero(sources == feature) for feature in np.unique(sources)]


def permute_features(
    predict: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    groups: list[NDArray[np.int64]],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the rise of each row's loss when a feature is shuffled, shape (n, features).

    Permutation importance (Breiman, 2001, "Random forests"), on rows that `predict` was not fitted on.

    Parameters
    ----------
    predict : callable
        From a matrix to logits.
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    groups : list of ndarray of int64
        Columns of each feature.
    generator : numpy.random.Generator
    """
    before = losses_of(labels, predict(matrix))
    rises = np.empty((len(matrix), len(groups)))
    for index, columns in enumerate(groups):
        shuffled = matrix.copy()
        shuffled[:, columns] = matrix[generator.permutation(len(matrix))][:, columns]
        rises[:, index] = losses_of(labels, predict(shuffled)) - before
    return rises


def in_standard_errors(rises: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean rise of each feature in its standard errors, shape (features,); 0 where nothing changes."""
    errors = rises.std(axis=0, ddof=1) / np.sqrt(len(rises))
    found: NDArray[np.float64] = np.divide(rises.mean(axis=0), errors, out=np.zeros(rises.shape[1]), where=errors > 0)
    return found


def keep_features(importances: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    """Return which features have at least an importance; the two foremost are always kept.

    Parameters
    ----------
    importances : ndarray of float64, shape (features,)
        In standard errors.
    least : float
    """
    second = np.sort(importances)[-2:][0]
    return np.asarray(importances >= min(least, second))
