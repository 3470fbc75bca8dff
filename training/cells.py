"""Cells of a column of a training table: those present, their distinct values, as words and as numbers.

A column is an Arrow array of integers, of floats without NaN, or of stripped strings; see `training.tables.Table`.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.tables.encode import read_numbers, simplify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.numerals import Decimal


def is_text(column: pa.Array) -> bool:
    """Return whether the cells are strings."""
    return bool(pa.types.is_string(column.type))


def is_present(column: pa.Array) -> NDArray[np.bool_]:
    """Return a mask of the cells with a value. "?" means a missing value, but rows with it are faults.

    Returns
    -------
    ndarray of bool, shape (len(column),)
    """
    known = column.is_valid()
    if is_text(column):
        known = compute.and_(known, compute.not_equal(column, "?").fill_null(False))
    return np.asarray(known, dtype=bool)


def select_present(column: pa.Array) -> pa.Array:
    """Return the cells with a value; see `is_present`."""
    return column.filter(pa.array(is_present(column)))


def count_distinct(column: pa.Array) -> int:
    """Return the number of distinct values, without missing ones."""
    return int(compute.count_distinct(column, mode="only_valid").as_py())


def count_words(column: pa.Array) -> dict[str, int]:
    """Return the number of rows of each value as a word, in descending order, ties in the order of the rows."""
    found = compute.value_counts(as_words(column.drop_null()))
    counts = zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)
    return dict(sorted(counts, key=itemgetter(1), reverse=True))


def as_words(column: pa.Array) -> pa.Array:
    """Return the cells as strings; null for missing ones."""
    if is_text(column):
        return column
    encoded = column.dictionary_encode()
    return pa.array(map(as_word, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


def as_word(cell: object) -> str:
    """Return a cell as string; integers have no decimal point, even in columns of floats."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def as_numbers(column: pa.Array, decimal: Decimal = ".") -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Convert a column to numbers.

    Parameters
    ----------
    column : pyarrow.Array
    decimal : {".", ",", "?"}
        Decimal separator of numbers in strings. If it is unknown, they are read with a point.

    Returns
    -------
    numbers : ndarray of float64, shape (n,)
        NaN for cells that are missing or not finite numbers.
    wrong : ndarray of bool, shape (n,)
        Mask of the cells that are neither missing nor finite numbers.
    """
    parsed = read_numbers(simplify(column, as_text=False), "," if decimal == "," else ".")
    numbers = np.where(np.isfinite(parsed), parsed, np.nan)
    wrong = np.isnan(numbers) & np.asarray(column.is_valid(), dtype=bool)
    return numbers, wrong
