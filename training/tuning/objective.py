"""Objective of the search: out-of-fold log loss of the network."""

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
"""Minimum distance of probabilities from 0 and 1."""


class Objective:
    """Cross-validates configurations on the same customers, fold by fold.

    Encoders, features, models and stack are fitted without the held-out customers.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Must not contain rows of the test set.
    labels : ndarray of float64, shape (n,)
    seed : int
        Seed of the folds and of all fits.
    parts : int
        Folds of the outer cross-validation.
    members : int
        Folds of the inner cross-validation.
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
        """Return the held-out customers of one fold and their log losses in nats.

        Returns
        -------
        rows : ndarray of int64, shape (n,)
        losses : ndarray of float64, shape (n,)
        """
        rows, left_out = self._parts[index]
        keras.backend.clear_session()
        options = job.Options(seed=self._seed, config=replace(config, folds=self._members))
        probabilities = job.fit(self._dataset, {"train": rows}, options).predict(self._dataset.raw[left_out])
        probabilities = np.clip(probabilities, LEAST, 1 - LEAST)
        return left_out, losses_of(self._dataset.labels[left_out], np.log(probabilities / (1 - probabilities)))
