"""Gradient-boosted trees: a judge of columns and tails, and a teacher that sees what networks miss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

JUDGE_FOLDS = 5


def make_judge(seed: int) -> HistGradientBoostingClassifier:
    """Make the small, strongly regularised trees that columns and tails are judged with."""
    return HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=120,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=5,
        early_stopping=False,
        random_state=seed,
    )


def make_teacher(seed: int) -> HistGradientBoostingClassifier:
    """Make trees that look at half of the columns at each split, to differ from the judge and each other."""
    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=150,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=5,
        max_features=0.5,
        early_stopping=False,
        random_state=seed,
    )


def fold(labels: NDArray[np.float32], folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (rows to teach on, rows left out) of each part of a stratified cross-validation."""
    yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)


def loss(labels: NDArray[np.float32], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each customer's log loss in nats, probabilities kept a millionth away from 0 and 1."""
    inside = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.asarray(-(labels * np.log(inside) + (1 - labels) * np.log(1 - inside)), dtype=np.float64)
