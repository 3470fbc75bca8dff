"""Keeps the columns worth keeping: noise that a network is shown, it learns.

Out-of-fold permutation importance (Breiman, 2001, "Random forests") with its standard error over customers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.default.tails import mark_tails
from training.default.trees import JUDGE_FOLDS, fold, loss, make_judge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.default.config import Config
    from training.default.tails import Tail

PERMUTATIONS = 4


def weigh_features(
    matrix: NDArray[np.float32],
    labels: NDArray[np.float32],
    groups: list[NDArray[np.int64]],
    tails: list[Tail],
    seed: int,
) -> NDArray[np.float64]:
    """Return how many standard errors the log loss rises when a feature's columns are shuffled.

    A feature that has a tail is judged by what it says beyond it: the tail has an indicator of its own.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    labels : ndarray of float32, shape (n,)
    groups : list of ndarray of int64
        The columns of each feature.
    tails : list of Tail
    seed : int

    Returns
    -------
    ndarray of float64, shape (features,)
    """
    shown = np.concatenate([matrix, mark_tails(matrix, tails)], axis=1)
    for tail in tails:
        column = shown[:, tail.column]
        shown[:, tail.column] = (
            np.maximum(column, max(tail.cuts)) if tail.sign > 0 else np.minimum(column, min(tail.cuts))
        )
    rises = np.zeros((len(groups), len(labels)))
    generator = np.random.default_rng(seed)
    for taught, left_out in fold(labels, JUDGE_FOLDS, seed):
        judge = make_judge(seed).fit(shown[taught], labels[taught])
        base = loss(labels[left_out], judge.predict_proba(shown[left_out])[:, 1])
        for position, columns in enumerate(groups):
            for _ in range(PERMUTATIONS):
                shuffled = shown[left_out].copy()
                shuffled[:, columns] = shuffled[generator.permutation(len(left_out))][:, columns]
                after = loss(labels[left_out], judge.predict_proba(shuffled)[:, 1])
                rises[position, left_out] += (after - base) / PERMUTATIONS
    weights: NDArray[np.float64] = rises.mean(axis=1) / (rises.std(axis=1) / np.sqrt(len(labels)) + 1e-12)
    return weights


def choose_columns(groups: list[NDArray[np.int64]], weights: NDArray[np.float64], config: Config) -> NDArray[np.int64]:
    """Return the columns of the features that weigh enough, and of the two heaviest in any case."""
    least = min(config.keep_columns, np.sort(weights)[-2:][0])
    kept = [columns for columns, weight in zip(groups, weights, strict=True) if weight >= least]
    return np.sort(np.concatenate(kept))
