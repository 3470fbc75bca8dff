"""Tails that networks miss, on data with a known jump."""

from __future__ import annotations

import numpy as np
import pytest

from training.default.folds import losses_of, split_folds
from training.default.tails import Tail, find_tails, fit_tails

CUT, SHIFT = -2.2, 3.0


def draw(seed: int, rows: int = 6000, shift: float = SHIFT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two columns; the logits of a model that knows all but a jump at the low end of the first; labels."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(rows, 2)).astype(np.float32)
    logits = matrix[:, 1] - 1.0
    true = logits + shift * (matrix[:, 0] < CUT)
    return matrix, logits.astype(np.float64), (generator.random(rows) < 1 / (1 + np.exp(-true))).astype(np.float32)


def test_a_jump_is_found_where_it_is() -> None:
    matrix, logits, labels = draw(0)
    (tail,) = find_tails(matrix, labels, logits, np.array([0, 1]), np.random.default_rng(0))
    assert (tail.column, tail.low) == (0, True)
    assert np.median(tail.cuts) == pytest.approx(CUT, abs=0.1)


def test_the_shift_lowers_the_loss_of_rows_it_was_not_fitted_on() -> None:
    matrix, logits, labels = draw(1)
    bag = fit_tails(matrix, labels, logits, np.array([0, 1]), split_folds(labels, 4, 0), 0)
    assert losses_of(labels, logits + bag.logits).mean() < losses_of(labels, logits).mean() - 0.005
    inside = matrix[:, 0] < CUT - 0.3
    assert bag.trees.predict(matrix)[inside].mean() == pytest.approx(SHIFT, abs=0.8)
    assert np.abs(bag.trees.predict(matrix)[matrix[:, 0] > CUT + 0.5]).max() < 0.3


def test_nothing_is_found_where_no_tail_differs() -> None:
    matrix, logits, labels = draw(2, shift=0.0)
    bag = fit_tails(matrix, labels, logits, np.array([0, 1]), split_folds(labels, 4, 0), 0)
    assert len(bag.trees) == 0
    assert not bag.logits.any()


def test_the_high_end_is_found_alike() -> None:
    matrix, logits, labels = draw(3)
    matrix[:, 0] *= -1
    bag = fit_tails(matrix, labels, logits, np.array([0, 1]), split_folds(labels, 4, 0), 0)
    assert bag.trees.predict(matrix)[matrix[:, 0] > 2.6].mean() == pytest.approx(SHIFT, abs=0.8)


def test_trees_and_marks_agree_and_equal_comparisons_are_merged() -> None:
    matrix, logits, labels = draw(4)
    folds = split_folds(labels, 3, 0)
    bag = fit_tails(matrix, labels, logits, np.array([0, 1]), folds, 0)
    keys = list(zip(bag.trees.columns[0].tolist(), bag.trees.borders[0].tolist(), strict=True))
    assert len(keys) == len(set(keys))
    tail = Tail(0, low=True, cuts=np.array([-1.0, 0.0], np.float32))
    assert tail.mark(np.array([[-2.0, 0], [-0.5, 0], [1.0, 0]], np.float32)).tolist() == [1.0, 0.5, 0.0]


def test_a_column_of_few_values_has_no_tail() -> None:
    matrix, logits, labels = draw(5)
    matrix[:, 0] = np.round(matrix[:, 0])
    assert find_tails(matrix, labels, logits, np.array([0]), np.random.default_rng(0)) == []
