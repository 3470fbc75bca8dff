from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.bundle import read_bundle
from training.background import CUSTOMERS, draw_background

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.job import Outcome


def test_one_customer_of_each_stratum_of_the_probability_is_drawn() -> None:
    draw = np.random.default_rng(0)
    probabilities = draw.random(1000)
    raw = np.column_stack([np.arange(1000.0), probabilities])
    drawn = draw_background(raw, probabilities, seed=3)
    assert len(np.unique(drawn[:, 0])) == CUSTOMERS
    ranks = np.searchsorted(np.sort(probabilities), drawn[:, 1])
    assert (ranks // 10 == np.arange(CUSTOMERS)).all()
    np.testing.assert_array_equal(drawn, raw[drawn[:, 0].astype(int)])  # whole customers, no mixtures
    assert abs(drawn[:, 1].mean() - probabilities.mean()) < 0.002


def test_the_same_seed_draws_the_same_customers_and_another_one_others() -> None:
    raw = np.arange(400.0).reshape(200, 2)
    probabilities = np.zeros(200)  # ties
    first, again, other = (draw_background(raw, probabilities, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_small_training_set_is_its_own_background() -> None:
    raw = np.arange(12.0).reshape(6, 2)
    drawn = draw_background(raw, np.linspace(1, 0, 6), 0)
    np.testing.assert_array_equal(np.sort(drawn, axis=0), raw)


def test_training_publishes_customers_of_its_training_set(outcome: Outcome, dataset: Dataset) -> None:
    bundle = read_bundle(outcome.folder)
    assert bundle.background is not None
    assert bundle.background.shape == (CUSTOMERS, len(bundle.manifest.schema.features))
    train = dataset.raw[outcome.trained.rows["train"]]
    known = {row.tobytes() for row in train}
    assert all(row.tobytes() in known for row in bundle.background)
