"""Peers in the comparison of quality, fitted on the same rows as ours and configured as is usual.

A peer is given the training and the validation set and returns a function of the raw matrix. Single models are fitted
on the training set and stopped on the validation set; bagged models cross-validate over both, as ours may.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from peer_tabm import fit_tabm
from peer_tabm_mini import fit_tabm_mini
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from training.preprocess import PLAIN, fit_preprocessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from churn.schema import Schema

    Matrix = NDArray[np.float64]
    Predict = Callable[[Matrix], NDArray[np.float64]]

THREADS = 2
FOLDS = 5


def fit_catboost(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401  (raw, labels)
    """Fit CatBoost with depth 5, learning rate 0.03, l2 5 and early stopping."""
    from catboost import CatBoostClassifier

    categories = [index for index, feature in enumerate(schema.features) if feature.kind == "category"]

    def as_pool(raw: Matrix) -> NDArray[np.object_]:
        table = raw.astype(object)
        table[:, categories] = raw[:, categories].astype(np.int64)
        return table

    model = CatBoostClassifier(
        depth=5, learning_rate=0.03, l2_leaf_reg=5, iterations=3000, early_stopping_rounds=100, random_seed=seed,
        cat_features=categories, thread_count=THREADS, verbose=0, allow_writing_files=False,
    )  # fmt: skip
    model.fit(as_pool(train[0]), train[1], eval_set=(as_pool(validation[0]), validation[1]))
    return lambda raw: model.predict_proba(as_pool(raw))[:, 1]


def fit_catboost_bag(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401
    """Fit five CatBoost models, each stopped on one fold of the training and validation sets together."""
    raw, labels = (np.concatenate([train[index], validation[index]]) for index in (0, 1))
    members = [
        fit_catboost(schema, (raw[fit], labels[fit]), (raw[stop], labels[stop]), seed)
        for fit, stop in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(raw, labels)
    ]
    return lambda raw: np.mean([member(raw) for member in members], axis=0)


def fit_lightgbm(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401
    """Fit LightGBM with 8 leaves, learning rate 0.02 and early stopping."""
    import lightgbm

    categories = [index for index, feature in enumerate(schema.features) if feature.kind == "category"]
    model = lightgbm.LGBMClassifier(
        num_leaves=8, learning_rate=0.02, n_estimators=3000, random_state=seed, n_jobs=THREADS, verbose=-1
    )
    model.fit(
        train[0], train[1], eval_set=[validation], categorical_feature=categories, eval_metric="binary_logloss",
        callbacks=[lightgbm.early_stopping(100, verbose=False)],
    )  # fmt: skip
    return lambda raw: np.asarray(model.predict_proba(raw))[:, 1]


def fit_logistic(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401, ARG001
    """Fit logistic regression on scaled numbers and one-hot categories of the training and validation sets."""
    raw, labels = (np.concatenate([train[index], validation[index]]) for index in (0, 1))
    _, preprocessor = fit_preprocessor(schema, raw, PLAIN)
    model = LogisticRegression(max_iter=1000).fit(preprocessor.transform(raw), labels)
    return lambda raw: np.asarray(model.predict_proba(preprocessor.transform(raw)))[:, 1]


PEERS: dict[str, Callable[[Schema, Any, Any, int], Predict]] = {
    "catboost": fit_catboost,
    "catboost-bag": fit_catboost_bag,
    "lightgbm": fit_lightgbm,
    "logistic": fit_logistic,
    "tabm": fit_tabm,
    "tabm-mini": fit_tabm_mini,
}
