"""Repeated rows of a streamed table are counted as in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from bank import draw_customers, write_csv

from training.dataset import load_dataset
from training.streaming import keys
from training.streaming.repeats import Repeats
from training.streaming.spread import Split, open_streamed

if TYPE_CHECKING:
    from pathlib import Path


def repeat_rows(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[3, 3, 7]]], ignore_index=True)


def test_repeated_rows_without_an_identifier_are_told_as_in_memory(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bank.csv", repeat_rows(draw_customers(300)).drop(columns=["CustomerId", "RowNumber"]))
    (told,) = [note for note in load_dataset(path).notes if "repeat" in note]
    with open_streamed(path, Split(0.2, 0.2, 0)) as streamed:
        assert told in streamed.sample.notes
    assert told.startswith("3 rows repeat an earlier one; they are kept")


def test_repeated_rows_of_a_customer_are_told_apart_from_customers_who_are_alike(tmp_path: Path) -> None:
    table = repeat_rows(draw_customers(300)).drop(columns="RowNumber")
    twin = table.iloc[[11]].assign(CustomerId=99)
    with open_streamed(write_csv(tmp_path / "bank.csv", pd.concat([table, twin])), Split(0.2, 0.2, 0)) as streamed:
        notes = [note for note in streamed.sample.notes if "earlier one" in note]
    assert notes[0].startswith("3 rows repeat an earlier one of the same CustomerId; they are kept")
    assert notes[1] == "1 customer is like an earlier one in all but CustomerId; it is kept."
    assert len(notes) == 2


def test_rows_are_found_across_batches_whatever_the_form_of_zero_and_nan() -> None:
    repeats = Repeats()
    repeats.add(np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0.0, 1.0]), None)
    assert repeats.describe(None) == []
    odd = np.array([0x7FF8000000000001], np.uint64).view(np.float64)[0]
    repeats.add(np.array([[-0.0, odd], [2.0, 1.0], [1.0, 2.0]]), np.array([0.0, 1.0, 0.0]), None)
    (note,) = repeats.describe(None)
    assert note.startswith("1 row repeats")


@pytest.mark.parametrize("order", ["C", "F"])
def test_keys_of_many_rows_differ(order: str) -> None:
    raw = np.asarray(np.random.default_rng(0).integers(0, 100, (20_000, 3)), dtype=np.float64, order=order)  # type: ignore[call-overload]
    distinct = np.unique(raw, axis=0)
    assert len(np.unique(keys.content_keys(raw, np.zeros(len(raw))))) == len(distinct)
