"""What a configuration is judged by: the log loss of the network on customers it was not fitted on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from training import job
from training.dataset import Dataset
from training.default.folds import losses_of, split_folds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.default.config import Config

LEAST = 1e-6
"""Probabilities are kept so far from 0 and 1."""


class Objective:
    """Cross-validates configurations on the same customers, part by part.

    All that is learned from customers is learned without those left out: encoders, features, members and stack.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Never of a test part.
    labels : ndarray of float64, shape (n,)
    seed : int
        Of the parts and of everything fitted.
    parts : int
        Of the outer cross-validation.
    members : int
        Folds inside each part.
    """

    def __init__(
        self, schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64], *, seed: int, parts: int,
        members: int,
    ) -> None:  # fmt: skip
        self._dataset = Dataset(schema, raw, labels, {}, ())
        self._seed = seed
        self._members = members
        self._parts = split_folds(labels, parts, seed)

    def judge_part(self, config: Config, index: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the customers left out of one part, and each one's log loss in nats."""
        rows, left_out = self._parts[index]
        keras.backend.clear_session()
        options = job.Options(seed=self._seed, config=replace(config, folds=self._members))
        said = job.fit(self._dataset, {"train": rows}, options).predict(self._dataset.raw[left_out])
        said = np.clip(said, LEAST, 1 - LEAST)
        return left_out, losses_of(self._dataset.labels[left_out], np.log(said / (1 - said)))
