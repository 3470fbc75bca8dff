from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from churn.errors import TableError
from training.split import split_rows

LABELS = (np.random.default_rng(0).random(1000) < 0.2).astype(float)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("stratify", [True, False])
def test_the_split_is_the_protocols(seed: int, *, stratify: bool) -> None:
    split = split_rows(LABELS, test_size=0.2, validation_size=0.2, seed=seed, stratify=stratify)
    rest, test = train_test_split(
        np.arange(1000), test_size=0.2, stratify=LABELS if stratify else None, random_state=seed
    )
    train, validation = train_test_split(
        rest, test_size=0.2, stratify=LABELS[rest] if stratify else None, random_state=seed
    )
    assert split.train.tolist() == train.tolist()
    assert split.validation.tolist() == validation.tolist()
    assert split.test.tolist() == test.tolist()
    assert (len(train), len(validation), len(test)) == (640, 160, 200)


def test_every_row_is_in_one_part() -> None:
    split = split_rows(LABELS, test_size=0.3, validation_size=0.1, seed=3)
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(1000))


def test_nothing_is_held_out_at_size_zero() -> None:
    split = split_rows(LABELS, test_size=0, validation_size=0, seed=0)
    assert split.train.tolist() == list(range(1000))
    assert len(split.test) == len(split.validation) == 0


def test_each_part_gets_its_share_of_leavers() -> None:
    split = split_rows(LABELS, test_size=0.2, validation_size=0.2, seed=0)
    for rows in (split.train, split.validation, split.test):
        assert LABELS[rows].mean() == pytest.approx(LABELS.mean(), abs=0.01)


def test_a_part_too_small_for_both_classes_is_refused_with_the_option_to_change() -> None:
    few = np.array([1.0] * 10 + [0.0] * 90)
    with pytest.raises(TableError, match=r"can't hold out a test set of 0.01 from 100 customers"):
        split_rows(few, test_size=0.01, validation_size=0, seed=0)
    with pytest.raises(TableError, match=r"choose another --validation-size or add rows"):
        split_rows(few, test_size=0, validation_size=0.02, seed=0, stratify=False)
    with pytest.raises(TableError, match=r"choose another --test-size or add rows"):
        split_rows(few, test_size=0.05, validation_size=0, seed=0)
