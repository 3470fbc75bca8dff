"""Whole records of a CSV to Arrow columns: numbers at once where every cell is one, else texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from churn.schema import MISSING_WORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.schema import Schema

Ragged = dict[int, tuple[int, str]]
"""Rows with too many or too few fields, by their position: how many there are, and the row."""


class CellReader:
    """Reads the records of one CSV.

    Parameters
    ----------
    schema : Schema
    names : sequence of str
        All columns in order, each name once.
    wanted : sequence of str
        The columns to read.
    delimiter : str
    """

    def __init__(self, schema: Schema, names: Sequence[str], wanted: Sequence[str], delimiter: str) -> None:
        self._names = list(names)
        self._delimiter = delimiter
        self._numeric = [feature.name for feature in schema.features if feature.kind != "category"]
        texts = dict.fromkeys(wanted, pa.string())
        self._as_texts = _convert(texts)
        self._as_numbers = _convert(texts | dict.fromkeys(self._numeric, pa.float64()))

    def read(self, block: bytes) -> tuple[pa.RecordBatch, Ragged, bool]:
        """Return the rows that have all fields, what is known of the others, and whether numbers were read as such.

        They are not where a cell of a quantity is neither a number nor a word for "not known": `read_texts` then has
        what was written, for a message.
        """
        try:
            batch, ragged = self._read(block, self._as_numbers)
        except pa.ArrowInvalid:
            return *self._read(block, self._as_texts), False
        if any(_has_nan(batch.column(name)) for name in self._numeric):  # written so, and no word for "not known"
            return *self._read(block, self._as_texts), False
        return batch, ragged, True

    def read_texts(self, block: bytes) -> pa.RecordBatch:
        """Return the rows that have all fields, every cell as it is written."""
        return self._read(block, self._as_texts)[0]

    def _read(self, block: bytes, convert: arrow_csv.ConvertOptions) -> tuple[pa.RecordBatch, Ragged]:
        ragged: Ragged = {}

        def skip(row: arrow_csv.InvalidRow) -> str:
            ragged[row.number - 1] = (row.actual_columns, row.text)
            return "skip"

        table = arrow_csv.read_csv(
            pa.BufferReader(block),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=self._names),
            arrow_csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=skip),
            convert,
        )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema), ragged


def _convert(types: dict[str, pa.DataType]) -> arrow_csv.ConvertOptions:
    return arrow_csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=sorted(MISSING_WORDS), strings_can_be_null=False
    )


def _has_nan(column: pa.Array) -> bool:
    return bool(compute.any(compute.is_nan(column)).as_py())
