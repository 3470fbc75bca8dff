from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from churn.bundle import read_bundle
from training import background
from training.background import CUSTOMERS, choose_background

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.dataset import Dataset
    from training.job import Outcome


def predict(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """A probability in which the features depend on one another."""
    return 1 / (1 + np.exp(-(raw[:, 0] + raw[:, 1] * raw[:, 2] - raw[:, 2])))


@pytest.fixture
def raw() -> NDArray[np.float64]:
    draw = np.random.default_rng(0)
    return np.column_stack([draw.normal(size=(3000, 3)), np.arange(3000)])


def test_whole_customers_are_chosen_one_of_each_stratum_of_the_probability(raw: NDArray[np.float64]) -> None:
    chosen = choose_background(raw, predict, seed=3)
    np.testing.assert_array_equal(chosen, raw[chosen[:, 3].astype(int)])
    ranks = np.searchsorted(np.sort(predict(raw)), predict(chosen))
    assert (ranks // (len(raw) // CUSTOMERS) == np.arange(CUSTOMERS)).all()


def test_means_are_closer_than_those_of_customers_drawn_at_random(raw: NDArray[np.float64]) -> None:
    def worst(rows: NDArray[np.float64]) -> float:
        """Error of the mean over mixtures with customers that were not compared."""
        errors = []
        for customer in raw[:50]:
            for taken in ([], [0], [1], [2], [0, 1], [0, 2], [1, 2]):
                means = []
                for part in (rows, raw):
                    mixed = part.copy()
                    mixed[:, taken] = customer[taken]
                    means.append(predict(mixed).mean())
                errors.append(means[0] - means[1])
        return float(np.sqrt(np.mean(np.square(errors))))

    chosen = np.mean([worst(choose_background(raw, predict, seed)) for seed in range(3)])
    drawn = np.mean([worst(np.random.default_rng(seed).choice(raw, CUSTOMERS, replace=False)) for seed in range(3)])
    assert chosen < drawn / 4


def test_the_same_seed_chooses_the_same_customers_and_another_one_others(raw: NDArray[np.float64]) -> None:
    first, again, other = (choose_background(raw, predict, seed, 10) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_small_training_set_is_its_own_background(raw: NDArray[np.float64]) -> None:
    chosen = choose_background(raw[:6], predict, 0)
    np.testing.assert_array_equal(np.sort(chosen[:, 3]), np.arange(6))


def test_a_table_of_one_column_has_a_background(raw: NDArray[np.float64]) -> None:
    assert choose_background(raw[:, :1], lambda rows: rows[:, 0] / 10 + 0.5, 0, 5).shape == (5, 1)


def test_of_a_large_training_set_candidates_with_the_mean_of_all_are_mixed(
    raw: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "REPRESENTED", 2000)
    asked: list[NDArray[np.float64]] = []

    def note(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(predict(rows))
        return asked[-1]

    chosen = choose_background(raw, note, 0, candidates=200)
    assert len(chosen) == CUSTOMERS
    assert [len(rows) for rows in asked] == [2000] + [200] * background.MIXTURES
    assert predict(chosen).mean() == pytest.approx(asked[0].mean(), abs=6e-3)  # a draw of 200: 0.02


def test_training_publishes_customers_of_its_training_set(outcome: Outcome, dataset: Dataset) -> None:
    bundle = read_bundle(outcome.folder)
    assert bundle.background is not None
    assert bundle.background.shape == (CUSTOMERS, len(bundle.manifest.schema.features))
    train = dataset.raw[outcome.trained.rows["train"]]
    known = {row.tobytes() for row in train}
    assert all(row.tobytes() in known for row in bundle.background)
