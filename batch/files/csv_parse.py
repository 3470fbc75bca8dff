"""Pieces of a CSV file to columns, by Arrow's parser: numbers at once as numbers, which is twice as fast as by text.

Where a cell is no number, or not one that can be scored, its column is read as text from then on, and judged cell by
cell: what is wrong is then told as it is written in the file. The result is the same either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv

from batch.chunk import MALFORMED, NO_REJECTS, REJECTS
from batch.files.blocks import Rows, fill_partitions
from churn.schema import MISSING_WORDS

if TYPE_CHECKING:
    from batch.columns import Columns
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput

UNCLOSED = "has a quote that does not close"
"""The reason of a line whose quote would swallow the lines below."""

NOT_UTF8 = "is not UTF-8 text"
"""The reason of a cell that is passed through or names a customer, and can't be read."""

_MARK = "\x1a"
_UNREADABLE = "\ufffd"
_WORDS = pa.dictionary(pa.int32(), pa.string())
_COLUMN = re.compile(r"In CSV column #(\d+): ")


class Parsed(NamedTuple):
    """Some records.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
    ragged : list of (int, str)
        Place, counted from 0, and text of each record with too many or too few fields.
    typed : frozenset of str
        Columns whose cells are not given as they are written.
    """

    batch: pa.RecordBatch
    ragged: list[tuple[int, str]]
    typed: frozenset[str]


class CsvParser:
    """Parses the pieces of one file; threads may share it.

    Parameters
    ----------
    header : list of str
    columns : Columns
    delimiter : str
    file : InputFile or StandardInput
        For the columns that its folders tell.
    """

    def __init__(self, header: list[str], columns: Columns, delimiter: str, file: InputFile | StandardInput) -> None:
        self.columns = columns
        self.width = len(header)
        self.file = file
        # What is not read may stand twice, or have no name.
        self._names = [name if name in columns.names else f"{_MARK}{i}" for i, name in enumerate(header)]
        self.delimiter = delimiter
        self._types = dict.fromkeys(columns.names, pa.string())
        self._typed: frozenset[str] = frozenset()
        for feature in columns.schema.features:
            if feature.name not in columns.keep:
                self._types[feature.name] = pa.float64() if feature.is_numeric else _WORDS
                self._typed |= {feature.name} if feature.is_numeric else set()

    def read_as_text(self, names: set[str]) -> None:
        """Read these columns as text from now on."""
        self._typed -= names

    def parse(self, data: bytes) -> Parsed:
        """Parse whole records, in UTF-8."""
        while True:
            typed = self._typed
            try:
                batch, ragged = self._read(data, typed)
            except pa.ArrowInvalid as error:
                found = _COLUMN.match(str(error))
                name = self._names[int(found[1])] if found else None
                if name not in typed:
                    raise
                self.read_as_text({str(name)})
                continue
            # "nan" in some spelling is a number to Arrow, and no missing value.
            spoiled = {name for name in typed & {*batch.schema.names} if _has_nan(batch.column(name))}
            if not spoiled:
                return Parsed(batch, ragged, typed)
            self.read_as_text(spoiled)

    def _read(self, data: bytes, typed: frozenset[str]) -> tuple[pa.RecordBatch, list[tuple[int, str]]]:
        ragged: list[tuple[int, str]] = []

        def skip(row: Any) -> str:  # noqa: ANN401  Arrow's
            ragged.append((row.number - 1, row.text))
            return "skip"

        names = [name for name in self._names if name in self.columns.names]
        types = {n: t if n in typed or t == _WORDS else pa.string() for n, t in self._types.items()}
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names),
            parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=names,
                null_values=sorted(MISSING_WORDS),
                strings_can_be_null=False,
            ),
        )
        return self._clear_blanks(_combine(table)), ragged

    def _clear_blanks(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Take a blank cell that is only handed on for null, which every form of output has."""
        for name in {self.columns.schema.identifier, *self.columns.keep} & {*batch.schema.names}:
            index, cells = batch.schema.get_field_index(name), batch.column(name)
            blank = compute.equal(compute.binary_length(cells), 0)
            if compute.any(blank).as_py():
                cells = compute.if_else(blank, pa.scalar(None, pa.string()), cells)
                batch = batch.set_column(index, name, cells)
        return batch


@dataclass(slots=True, eq=False)
class CsvBlock:
    """Some whole records.

    Attributes
    ----------
    parser : CsvParser
    data : bytes
    unclosed : tuple of (int, int)
        Lines of them, from and to, whose quotes never close.
    """

    parser: CsvParser
    data: bytes
    unclosed: tuple[tuple[int, int], ...] = ()
    _typed: frozenset[str] = field(default=frozenset(), init=False)

    def parse(self) -> Rows:
        """Turn them into columns."""
        if self.data.isspace() and not self.data.strip(b"\r\n"):  # blank lines alone are an error to Arrow
            return Rows(_make_empty(self.parser.columns), 0)
        data = self._mark_unclosed(self.data)
        is_readable = data.isascii() or _is_utf8(data)
        parsed = self.parser.parse(data if is_readable else data.decode("utf-8", "replace").encode())
        self._typed = parsed.typed
        places = None
        rejects = NO_REJECTS
        total = len(parsed.batch) + len(parsed.ragged)
        if parsed.ragged:
            places = np.setdiff1d(np.arange(total), [place for place, _ in parsed.ragged], assume_unique=True)
            rejects = self._reject_lines(parsed.ragged)
        rows = Rows(fill_partitions(parsed.batch, self.parser.columns, self.parser.file), total, places, rejects)
        return rows if is_readable else _reject_unreadable(rows, self.parser.columns)

    def parse_again(self, wrong: set[str]) -> Rows | None:
        """Return the rows with the cells of these columns as they are written; None if `parse` gave them so."""
        typed = wrong & self._typed
        self.parser.read_as_text(typed)
        return self.parse() if typed else None

    def _mark_unclosed(self, data: bytes) -> bytes:
        """Put in the place of each line whose quotes do not close one that has too many fields, so that it is found."""
        if not self.unclosed:
            return data
        mark = (_MARK + self.parser.delimiter * self.parser.width + "\n").encode()
        starts = [0, *(end for _, end in self.unclosed)]
        ends = [*(start for start, _ in self.unclosed), len(data)]
        return mark.join(data[start:end] for start, end in zip(starts, ends, strict=True))

    def _reject_lines(self, ragged: list[tuple[int, str]]) -> pa.RecordBatch:
        unclosed = iter(self.unclosed)
        places, texts, reasons = [], [], []
        for place, text in ragged:
            is_unclosed = text.startswith(_MARK)
            start, end = next(unclosed) if is_unclosed else (0, 0)
            places.append(place)
            texts.append(self.data[start:end].decode("utf-8", "replace").rstrip("\r\n") if is_unclosed else text)
            reasons.append(UNCLOSED if is_unclosed else MALFORMED)
        absent, allowed = pa.nulls(len(places), pa.string()), pa.repeat(f"{self.parser.width} fields", len(places))
        return pa.record_batch([pa.array(places, pa.int64()), absent, absent, texts, reasons, allowed], schema=REJECTS)


def _make_empty(columns: Columns) -> pa.RecordBatch:
    kinds = dict.fromkeys(columns.names, pa.string())
    return pa.record_batch([pa.array([], kind) for kind in kinds.values()], schema=pa.schema(list(kinds.items())))


def _combine(table: pa.Table) -> pa.RecordBatch:
    """Return a table's one batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.record_batch([pa.array([], f.type) for f in table.schema], schema=table.schema)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_nan(numbers: pa.Array) -> bool:
    return bool(compute.any(compute.is_nan(numbers)).as_py())


def _reject_unreadable(rows: Rows, columns: Columns) -> Rows:
    """Take out the rows that can't be handed on as they came, because a cell is not UTF-8."""
    handed_on = [name for name in columns.names if name == columns.schema.identifier or name in columns.keep]
    places = np.arange(rows.total) if rows.places is None else rows.places
    bad = np.zeros(len(rows.batch), dtype=bool)
    rejects = [rows.rejects]
    for name in handed_on:
        cells = rows.batch.column(name)
        found = np.asarray(compute.match_substring(cells, _UNREADABLE).fill_null(False))
        count = int(np.count_nonzero(found))
        values = cells.filter(pa.array(found))
        absent, names, reasons, allowed = (
            pa.repeat(pa.scalar(word, pa.string()), count) for word in (None, name, NOT_UTF8, "UTF-8")
        )
        rejects.append(pa.record_batch([places[found], absent, names, values, reasons, allowed], schema=REJECTS))
        bad |= found
    fine = ~bad
    merged = pa.Table.from_batches(rejects).sort_by("row")
    return Rows(rows.batch.filter(pa.array(fine)), rows.total, places[fine], _combine(merged))
