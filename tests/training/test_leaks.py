"""Columns that predict the label by themselves stop a training; columns that are only good do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from bank import draw_customers, write_csv

from churn.errors import TableError
from churn.feature import Feature
from churn.schema import Schema
from training.dataset import load_dataset
from training.leaks import find_leaks, judge_column
from training.streaming.spread import Split, open_streamed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

ROWS = 2000
Make: TypeAlias = "Callable[[NDArray[np.float64], np.random.Generator], Any]"

TOO_GOOD: dict[str, Make] = {
    "the label itself": lambda left, _: left,
    "its complement": lambda left, _: 1 - left,
    "words for it": lambda left, _: np.where(left == 1, "closed", "open"),
    "filled in for leavers alone": lambda left, draw: np.where(left == 1, draw.integers(1, 400, len(left)), ""),
    "a reason, of several": lambda left, draw: np.where(
        left == 1, draw.choice(["price", "moved", "rival"], len(left)), ""
    ),
    "another model's output": lambda left, draw: (0.98 * left + 0.01 * draw.random(len(left))).round(6),
    "the same, falling": lambda left, draw: -(left + 0.9 * draw.random(len(left))).round(6),
    "in the middle of a range": lambda left, draw: np.where(
        left == 1, draw.uniform(40, 60, len(left)), draw.choice([0, 100], len(left)) + draw.uniform(-9, 9, len(left))
    ),
    "nearly every label": lambda left, draw: np.where(draw.random(len(left)) < 0.004, 1 - left, left),
    "far better than all others": lambda left, draw: np.round(left * 2.6 + draw.normal(0, 1, len(left)), 3),
}

FINE: dict[str, Make] = {
    "nothing": lambda left, draw: draw.random(len(left)).round(6),
    "nine labels of ten": lambda left, draw: np.where(draw.random(len(left)) < 0.1, 1 - left, left),
    "strong": lambda left, draw: np.round(left * 1.6 + draw.normal(0, 1, len(left)), 3),
    "a value for each customer": lambda left, draw: draw.permutation(len(left)) * 7 + draw.integers(0, 7, len(left)),
    "many levels without a meaning": lambda left, draw: [
        f"branch {number}" for number in draw.integers(0, 90, len(left))
    ],
}


def with_column(make: Any, rows: int = ROWS) -> pd.DataFrame:
    table = draw_customers(rows)
    column = make(table.Exited.to_numpy(dtype=np.float64), np.random.default_rng(1))
    return table.assign(**{"Late entry": column})


@pytest.mark.parametrize("name", TOO_GOOD)
def test_a_column_that_predicts_the_label_too_well_stops_the_training(tmp_path: Path, name: str) -> None:
    path = write_csv(tmp_path / "bank.csv", with_column(TOO_GOOD[name]))
    with pytest.raises(TableError, match="1 column predicts the label too well") as error:
        load_dataset(path)
    assert "--drop 'Late entry'" in str(error.value)
    assert "--keep 'Late entry'" in str(error.value)
    assert "Late entry" not in load_dataset(path, drop=["Late entry"]).schema.names
    assert "Late entry" in load_dataset(path, keep=["Late entry"]).schema.names


@pytest.mark.parametrize("name", FINE)
def test_a_column_that_is_only_good_stops_nothing(tmp_path: Path, name: str) -> None:
    path = write_csv(tmp_path / "bank.csv", with_column(FINE[name]))
    load_dataset(path)


def test_a_schema_does_not_hide_a_leak_and_leaves_both_ways_on(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", with_column(TOO_GOOD["another model's output"]))
    schema = load_dataset(path, keep=["Late entry"]).schema
    with pytest.raises(TableError, match="too well"):
        load_dataset(path, schema=schema)
    assert load_dataset(path, schema=schema, keep=["Late entry"]).schema.names == schema.names
    assert load_dataset(path, schema=schema, drop=["Late entry"]).schema.names == schema.names[:-1]


def test_a_streamed_table_is_searched_on_its_sample(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", with_column(TOO_GOOD["filled in for leavers alone"]))
    split = Split(0.2, 0.1, 0)
    with pytest.raises(TableError, match="--drop 'Late entry'"), open_streamed(path, split, scratch=tmp_path):
        pass
    with open_streamed(path, split, scratch=tmp_path, keep=["Late entry"]) as table:
        assert "Late entry" in table.sample.schema.names


def test_several_leaks_are_named_together_the_best_first() -> None:
    draw = np.random.default_rng(0)
    left = (draw.random(ROWS) < 0.2).astype(np.float64)
    noisy = np.where(draw.random(ROWS) < 0.003, 1 - left, left)
    schema = Schema(tuple(Feature(name, "number") for name in ("noisy", "age", "exact")), "left")
    found = find_leaks(schema, np.column_stack([noisy, draw.random(ROWS), left]), left)
    assert [leak.name for leak in found] == ["exact", "noisy"]


def test_a_column_alone_is_judged_out_of_fold() -> None:
    draw = np.random.default_rng(0)
    left = draw.random(ROWS) < 0.2
    levels = tuple(f"level {number}" for number in range(ROWS // 2))
    codes = draw.integers(0, len(levels), ROWS).astype(np.float64)
    # In sample, two customers a level would rank each other nearly perfectly.
    assert judge_column(Feature("level", "category", categories=levels), codes, left) == pytest.approx(0.5, abs=0.08)


def test_a_handful_of_customers_proves_nothing() -> None:
    schema = Schema((Feature("age", "number"),), "left")
    labels = np.array([1.0] * 9 + [0.0] * 91)
    assert find_leaks(schema, labels[:, None].copy(), labels) == []
