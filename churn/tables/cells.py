"""Parse complete CSV records to columns with pyarrow, numeric columns directly as numbers, which is twice as fast.

When a cell is not a number or can't be scored, its column is read as strings from then on and validated cell by cell.
The result is the same.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv

from churn.errors import Violation
from churn.feature import MISSING_WORDS
from churn.tables.encoding import NOT_UTF8, UNREADABLE, is_utf8
from churn.tables.records import count_lines, drop_lines, find_begins, find_lines, find_quoted
from churn.tables.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from churn.feature import Feature
    from churn.tables.csv_format import CsvFormat

UNCLOSED = "has a quote that does not close"
"""Reason for a line with an unclosed quote."""

_WORDS = pa.dictionary(pa.int32(), pa.string())
_COLUMN = re.compile(r"In CSV column #(\d+): ")


class RecordBlock(NamedTuple):
    """A block of complete CSV records.

    Attributes
    ----------
    data : bytes
    unclosed : tuple of (int, int)
        Ranges of bytes of the lines with an unclosed quote.
    line : int
        Line number of the first record, counted from 1; 0 if unknown.
    """

    data: bytes
    unclosed: tuple[tuple[int, int], ...] = ()
    line: int = 0


def split_records(block: RecordBlock, delimiter: bytes, most: int) -> Iterator[RecordBlock]:
    """Yield the records of a block in blocks of at most `most`."""
    begins = find_begins(block.data, find_quoted(block.data, delimiter, is_last=True))
    line = block.line
    for start, end in pairwise([0, *begins[most::most].tolist(), len(block.data)]):
        data = block.data[start:end]
        unclosed = tuple((first - start, last - start) for first, last in block.unclosed if start <= first < end)
        yield RecordBlock(data, unclosed, line)
        line += count_lines(data) if line else 0


class CellParser:
    """Parses blocks of one CSV; thread-safe.

    Parameters
    ----------
    form : CsvFormat
    names : sequence of str
        Columns to read, each of which occurs once.
    features : sequence of Feature
        Features among these columns.
    as_text : collection of str
        Columns to keep as strings; all columns that are not features are kept as well.
    """

    def __init__(
        self, form: CsvFormat, names: Sequence[str], features: Sequence[Feature] = (), as_text: Collection[str] = ()
    ) -> None:
        self._form = form
        kinds = {feature.name: feature for feature in features if feature.name not in as_text}
        self._wanted = [name for name in form.names if name in names]
        self._handed_on = [name for name in self._wanted if name not in kinds]
        # Columns that are not read may have duplicate or empty names.
        self._names = [name if name in names else f"\0{place}" for place, name in enumerate(form.names)]
        self._types = {name: _choose_type(kinds.get(name), form) for name in self._wanted}
        self._typed = frozenset(name for name, kind in self._types.items() if kind in (pa.float64(), pa.int64()))
        # Of few different texts, each is read once.
        self._as_text = {
            name: pa.string() if name not in kinds or kinds[name].is_numeric else _WORDS for name in self._wanted
        }

    def parse(self, block: RecordBlock) -> Rows:
        """Parse a block."""
        data = drop_lines(block.data, block.unclosed)
        is_readable = is_utf8(data)
        data = data if is_readable else data.decode("utf-8", "replace").encode()
        if data.isspace() and not data.strip(b"\r\n"):  # pyarrow raises an error for a block of blank lines
            data = b""
        batch, ragged, typed = self._read_typed(data)
        total = len(batch) + len(ragged)
        is_whole = np.ones(total, dtype=bool)
        is_whole[list(ragged)] = False
        broken = [self._explain_ragged(row, *found) for row, found in ragged.items()]
        if block.unclosed:
            is_whole, broken = self._insert_unclosed(block, is_whole, broken)
        places = None if is_whole.all() else np.flatnonzero(is_whole)
        if not is_readable:
            broken += self._find_unreadable(batch, np.arange(total) if places is None else places)
        return Rows(
            self._clear_blanks(batch),
            len(is_whole),
            sorted(broken, key=lambda one: one.row),
            places,
            self._form.decimals,
            partial(self._reread, data, typed),
            partial(find_lines, block.data, self._form.delimiter.encode(), block.line) if block.line else None,
        )

    def _read_typed(self, data: bytes) -> tuple[pa.RecordBatch, dict[int, tuple[int, str]], frozenset[str]]:
        """Parse records; columns that can't be read as numbers are read as strings from now on."""
        while True:
            typed = self._typed
            try:
                batch, ragged = self._read(data, typed)
            except pa.ArrowInvalid as error:
                found = _COLUMN.match(str(error))
                name = self._names[int(found[1])] if found else ""
                if name not in typed:
                    raise
                self._typed -= {name}
                continue
            # pyarrow reads spellings of "nan" as numbers, not as missing values.
            spoiled = {name for name in typed if _has_nan(batch.column(name))}
            if not spoiled:
                return batch, ragged, typed
            self._typed -= spoiled

    def _reread(self, data: bytes, typed: frozenset[str], names: Collection[str]) -> pa.RecordBatch | None:
        numbers = typed.intersection(names)
        if not numbers:
            return None
        self._typed -= numbers
        return self._clear_blanks(self._read(data, typed - numbers)[0])

    def _read(self, data: bytes, typed: frozenset[str]) -> tuple[pa.RecordBatch, dict[int, tuple[int, str]]]:
        """Return the complete rows, and the number of fields and the text of the others by position."""
        ragged: dict[int, tuple[int, str]] = {}

        def skip(row: Any) -> str:  # noqa: ANN401  Arrow's
            ragged[row.number - 1] = (row.actual_columns, row.text)
            return "skip"

        kinds = {name: kind if name in typed else self._as_text[name] for name, kind in self._types.items()}
        if not data:
            return _make_empty(pa.schema(list(kinds.items()))), ragged
        if data.startswith(BOM_UTF8):  # pyarrow skips one, which is part of the first cell here
            data = BOM_UTF8 + data
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names),
            csv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=True, invalid_row_handler=skip),
            csv.ConvertOptions(
                column_types=kinds,
                include_columns=self._wanted,
                null_values=sorted(MISSING_WORDS),
                strings_can_be_null=False,
            ),
        )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else _make_empty(table.schema), ragged

    def _clear_blanks(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Replace blank kept cells by null, which all output formats support."""
        for name in self._handed_on:
            index, cells = batch.schema.get_field_index(name), batch.column(name)
            lengths = compute.binary_length(cells)
            if compute.min(lengths).as_py() == 0:
                known = compute.if_else(compute.equal(lengths, 0), pa.scalar(None, pa.string()), cells)
                batch = batch.set_column(index, name, known)
        return batch

    def _insert_unclosed(
        self, block: RecordBlock, is_whole: np.ndarray[Any, np.dtype[np.bool_]], broken: list[Violation]
    ) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], list[Violation]]:
        """Insert the lines with unclosed quotes at their positions."""
        begins = find_begins(block.data, find_quoted(block.data, self._form.delimiter.encode(), is_last=True))
        rows = np.searchsorted(begins, [start for start, _ in block.unclosed])
        others = np.setdiff1d(np.arange(len(is_whole) + len(rows)), rows, assume_unique=True)
        all_whole = np.zeros(len(is_whole) + len(rows), dtype=bool)
        all_whole[others] = is_whole
        moved = [replace(one, row=int(others[one.row])) for one in broken]
        texts = [block.data[start:end].decode("utf-8", "replace").rstrip("\r\n") for start, end in block.unclosed]
        found = [Violation(row, "", UNCLOSED, text, "a quote at the end of the field")
                 for row, text in zip(rows.tolist(), texts, strict=True)]  # fmt: skip
        return all_whole, [*moved, *found]

    def _explain_ragged(self, row: int, fields: int, text: str) -> Violation:
        allowed = f"{len(self._names)} field{'s' * (len(self._names) != 1)}, as in the header"
        return Violation(row, "", f"has {fields} field{'s' * (fields != 1)}", text, allowed)

    def _find_unreadable(self, batch: pa.RecordBatch, places: np.ndarray[Any, np.dtype[np.int64]]) -> list[Violation]:
        """Find cells that are not valid UTF-8 in the columns that are read."""
        found = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in self._typed:  # a number
                continue
            cells = column.cast(pa.string())
            rows = np.flatnonzero(np.asarray(compute.match_substring(cells, UNREADABLE).fill_null(False)))
            found += [Violation(int(places[row]), name, NOT_UTF8, cells[row].as_py(), "UTF-8") for row in rows.tolist()]
        return found


def _choose_type(feature: Feature | None, form: CsvFormat) -> pa.DataType:
    """Return the type for reading a column; string if its numbers must be validated as they are written."""
    if feature is None:
        return pa.string()
    if not feature.is_numeric and feature.kind != "flag":
        return _WORDS
    # Without a known decimal separator, only numbers without point and comma are unambiguous.
    kinds = {".": pa.float64(), "?": pa.int64(), ",": pa.string() if feature.is_numeric else _WORDS}
    return kinds[form.decimals.get(feature.name, ".")]


def _make_empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema)


def _has_nan(numbers: pa.Array) -> bool:
    return bool(compute.any(compute.is_nan(numbers)).as_py())
