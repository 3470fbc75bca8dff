"""What a configuration is judged by: the log loss of its teachers on customers they were not taught on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from training.default.survey import WORKED_OUT_FROM, Survey, survey
from training.default.teachers import Teachers
from training.default.trees import fold, loss
from training.networks import NETWORKS
from training.preprocess import fit_preprocessor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from churn.schema import Schema
    from training.default.config import Config


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of the outer cross-validation, encoded by those who are taught on."""

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    preprocessor: Preprocessor
    left_out: NDArray[np.int64]
    left_out_matrix: NDArray[np.float32]


class Objective:
    """Cross-validates configurations on the same customers, part by part.

    All that is learned from customers is learned without those left out: scaling, columns, tails, weights and
    calibration. The student is not taught: it repeats its teachers, and takes a third of the time.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Never of a test part.
    labels : ndarray of float64, shape (n,)
    seed : int
        Of the parts and of everything taught.
    parts : int
        Of the outer cross-validation.
    members : int
        Folds of the bag inside each part, one member each: fewer than are shipped, to be quicker.
    """

    def __init__(
        self, schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int, parts: int,
        members: int,
    ) -> None:  # fmt: skip
        self._seed = seed
        self._members = members
        self._labels = labels.astype(np.float32)
        self._parts: list[_Part] = []
        for rows, left_out in fold(self._labels, parts, seed):
            _, preprocessor = fit_preprocessor(schema, raw[rows], NETWORKS["default"].encoding)
            matrix, other = preprocessor.transform(raw[rows]), preprocessor.transform(raw[left_out])
            self._parts.append(_Part(matrix, self._labels[rows], preprocessor, left_out, other))
        self._surveys: dict[tuple[Any, ...], Survey] = {}

    def judge_part(self, config: Config, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the customers left out of one part, and each one's log loss in nats."""
        config = replace(config, folds=self._members, repeats=1)
        part = self._parts[index]
        keras.backend.clear_session()
        keras.utils.set_random_seed(self._seed)
        tf.config.experimental.enable_op_determinism()
        with threadpool_limits(1, user_api="openmp"):
            found = self._survey(index, config)
            teachers = Teachers(part.matrix, part.labels, found, config, self._seed, show=False)
            probabilities = teachers.judge(part.left_out_matrix)
        return part.left_out, loss(self._labels[part.left_out], probabilities)

    def _survey(self, index: int, config: Config) -> Survey:
        """Return the survey of a part, which configurations with as many tails share."""
        part = self._parts[index]
        key = (index, *(getattr(config, name) for name in WORKED_OUT_FROM))
        if key not in self._surveys:
            self._surveys[key] = survey(part.matrix, part.labels, part.preprocessor, config, self._seed)
        return self._surveys[key]
