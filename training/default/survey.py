"""What is found in the customers before any network is taught: folds, tails, and how much each feature weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from training.default.selection import weigh_features
from training.default.tails import Tail, find_tails, predict_without_tails
from training.default.trees import fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from training.default.config import Config

    Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
    """Rows to teach on, and rows left out."""

WORKED_OUT_FROM = ("folds", "max_tails", "tail_gain")
"""The hyperparameters a survey depends on: two configurations that share these share their survey."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in the customers.

    Attributes
    ----------
    groups : list of ndarray of int64
        The matrix's columns of each feature.
    quantities : ndarray of int64
        Columns that are scaled quantities.
    folds : list of (ndarray of int64, ndarray of int64)
        Rows to teach on and rows left out, of each part of the cross-validation.
    tails : list of list of Tail
        Found on each fold's rows to teach on.
    all_tails : list of Tail
        Found on all rows.
    weights : ndarray of float64, shape (features,)
        Standard errors by which the log loss rises when a feature is shuffled.
    """

    groups: list[NDArray[np.int64]]
    quantities: NDArray[np.int64]
    folds: list[Fold]
    tails: list[list[Tail]]
    all_tails: list[Tail]
    weights: NDArray[np.float64]


def survey(
    matrix: NDArray[np.float32], labels: NDArray[np.float32], preprocessor: Preprocessor, config: Config, seed: int
) -> Survey:
    """Find folds, tails and the features' weights.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    preprocessor : Preprocessor
        Says which columns of the matrix belong to one feature.
    config : Config
        Of it, `WORKED_OUT_FROM` alone.
    seed : int
    """
    groups, quantities = _group_columns(preprocessor)
    folds = _split_folds(labels, config, seed)
    reference = predict_without_tails(matrix, labels, quantities, seed)
    tails = [find_tails(matrix[rows], labels[rows], reference[rows], quantities, config, seed) for rows, _ in folds]
    all_tails = find_tails(matrix, labels, reference, quantities, config, seed)
    weights = weigh_features(matrix, labels, groups, all_tails, seed)
    return Survey(groups, quantities, folds, tails, all_tails, weights)


def _group_columns(preprocessor: Preprocessor) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the columns of each feature, and those that are scaled quantities."""
    sources = np.concatenate([preprocessor.value_source, preprocessor.equal_source, preprocessor.missing_source])
    values = len(preprocessor.value_source)
    scaled = (preprocessor.scale[:values] != 1) | (preprocessor.center[:values] != 0)
    return [np.flatnonzero(sources == feature) for feature in sorted(set(sources.tolist()))], np.flatnonzero(scaled)


def _split_folds(labels: NDArray[np.float32], config: Config, seed: int) -> list[Fold]:
    rarest = int(min(labels.sum(), (1 - labels).sum()))
    count = min(config.folds, rarest)
    if count == 1:
        everyone = np.arange(len(labels))
        return [(everyone, everyone)]
    return list(fold(labels, count, seed))
