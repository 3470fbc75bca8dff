"""CSV to rows, as it arrives, and scores to CSV."""

from __future__ import annotations

import csv
import io
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import Violation
from churn.names import normalize_names
from churn.runtime.files import find_delimiter
from service.errors import RequestProblem
from service.tables.csv_cells import CellReader
from service.tables.csv_records import count_lines, find_end, find_first_end, find_lines, is_open
from service.tables.rows import Rows, check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.schema import Schema

_BOM = b"\xef\xbb\xbf"
_NOT_UTF8 = "\ufffd"
_ADVICE = "the line it begins on has too many bytes, or a quote that is not closed"


class CsvReader:
    """Reads a CSV of customers: comma or semicolon, a header line, columns by name in any order.

    Parameters
    ----------
    schema : Schema
    max_record : int
        Size of the longest record, in bytes.
    """

    def __init__(self, schema: Schema, max_record: int) -> None:
        self._schema = schema
        self._max_record = max_record
        self._rest = b""
        self._line = 1
        self._delimiter = b","
        self._names: list[str] = []
        self._cells: CellReader | None = None

    @property
    def buffered(self) -> int:
        """Bytes that wait for more."""
        return len(self._rest)

    @property
    def identifier(self) -> pa.DataType | None:
        """Type of the identifiers; None if the table has none."""
        return pa.string() if self._schema.identifier in self._names else None

    def read(self, data: bytes, *, last: bool) -> Iterator[Rows]:
        """Take what arrived and yield the rows that are whole; what is wrong with a row is said with it.

        Raises
        ------
        RequestProblem
            400 without a header line, 413 if a record is too long, 422 if a column is absent.
        """
        data = self._rest + data if self._rest else data
        if self._cells is None:
            data = self._read_header(data, last=last)
            if self._cells is None:
                return
        end = find_end(data, self._delimiter)
        block, self._rest = data[:end], data[end:]
        if len(self._rest) > self._max_record:
            raise RequestProblem.part_too_large(
                "a record of a CSV", self._max_record, f"line {self._next_line(block)}: {_ADVICE}"
            )
        if block:
            yield self._read_block(self._cells, block)
        if last and self._rest:
            block, self._rest = self._rest, b""
            yield self._read_block(self._cells, block, is_cut=is_open(block, self._delimiter))

    def _next_line(self, block: bytes) -> int:
        return self._line + count_lines(block)

    def _read_header(self, data: bytes, *, last: bool) -> bytes:
        """Read the first line if it is there; return what follows."""
        data = data.removeprefix(_BOM)
        first = data.split(b"\n", 1)[0].split(b"\r", 1)[0]
        delimiter = find_delimiter(first.decode("latin-1")).encode()
        end = find_first_end(data, delimiter)
        if not end and not last:
            if len(data) > self._max_record:
                raise RequestProblem.part_too_large(
                    "the header of a CSV", self._max_record, "the first line names the columns"
                )
            self._rest = data
            return b""
        header = data[:end] if end else data
        try:
            text = header.decode()
        except UnicodeDecodeError as error:
            raise RequestProblem.malformed_table("csv", f"line 1 is not UTF-8: byte {error.start}") from None
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter.decode()), [])
        except csv.Error as error:
            raise RequestProblem.malformed_table("csv", f"line 1 can't be read: {error}") from None
        names = normalize_names(cells)
        if not any(names):
            raise RequestProblem.malformed_table("csv", "line 1 is empty; it must name the columns")
        wanted = check_columns(self._schema, names)
        self._delimiter, self._line = delimiter, 1 + count_lines(header)
        # By position: what stands in columns that are ignored may be named twice.
        self._names = [name if name in wanted else f"\0{position}" for position, name in enumerate(names)]
        self._cells = CellReader(self._schema, self._names, wanted, delimiter.decode())
        self._rest = b""
        return data[len(header) :]

    def _read_block(self, cells: CellReader, block: bytes, *, is_cut: bool = False) -> Rows:
        """Read whole records; `is_cut` if the last, which is the only one, has an open quote."""
        first_line, self._line = self._line, self._next_line(block)
        clean, is_utf8 = _as_utf8(block)
        batch, ragged, has_numbers = cells.read(clean)
        count, places = len(batch) + len(ragged), None
        broken: list[Violation] = []
        if ragged:
            places = np.delete(np.arange(count), list(ragged))
            broken = [self._explain_ragged(row, *found) for row, found in ragged.items()]
        if is_cut:
            batch, places = batch.slice(0, 0), np.zeros(0, dtype=np.int64)
            reason, allowed = "has a quote that is not closed", "as many quotes that close as open"
            broken = [Violation(0, "", reason, clean.decode(), allowed)]
        elif not is_utf8:
            broken += self._find_unnamed(batch, np.arange(count) if places is None else places)
        read_texts = partial(cells.read_texts, clean) if has_numbers else None
        lines = partial(find_lines, clean, self._delimiter, first_line)
        return Rows(batch, count, broken, places, read_texts, lines)

    def _explain_ragged(self, row: int, fields: int, text: str) -> Violation:
        allowed = f"{len(self._names)} fields, as the header has"
        return Violation(row, "", f"has {fields} field{'s' * (fields != 1)}", text, allowed)

    def _find_unnamed(self, batch: pa.RecordBatch, places: NDArray[np.int64]) -> list[Violation]:
        """Find the rows whose identifier can't be sent back as it came."""
        identifier = self._schema.identifier
        if identifier not in batch.schema.names:
            return []
        names = batch.column(identifier)
        rows = np.flatnonzero(compute.match_substring(names, _NOT_UTF8).to_numpy(zero_copy_only=False))
        return [
            Violation(int(places[row]), identifier, "is not UTF-8", names[row].as_py(), "a text in UTF-8")
            for row in rows.tolist()
        ]


def _as_utf8(block: bytes) -> tuple[bytes, bool]:
    """Return UTF-8, with the replacement character for what is none, and whether it was."""
    if block.isascii():
        return block, True
    try:
        block.decode()
    except UnicodeDecodeError:
        return block.decode("utf-8", "replace").encode(), False
    return block, True


class CsvWriter:
    """Writes scores as CSV: a header line, commas, quotes only where needed, an empty field for null."""

    def begin(self, form: pa.Schema) -> bytes:
        """Return what comes before all rows."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(form.names)
        return text.getvalue().encode()

    def write(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows."""
        if not len(batch):
            return b""
        cells = [_quote(column) if pa.types.is_string(column.type) else column.cast(pa.string()) for column in batch]
        lines = compute.binary_join_element_wise(*cells, ",", null_handling="replace", null_replacement="")
        ended = compute.binary_join_element_wise(lines, "", "\n")
        _, offsets, text = ended.buffers()  # an array of texts holds them one behind the other
        length = int(np.frombuffer(offsets, dtype=np.int32)[len(batch)])
        return text.to_pybytes()[:length]  # type: ignore[no-any-return]

    def end(self) -> bytes:
        """Return what comes after all rows."""
        return b""


def _quote(column: pa.Array) -> pa.Array:
    special = compute.match_substring_regex(column, '[",\r\n]')
    if not compute.any(special).as_py():
        return column
    doubled = compute.binary_join_element_wise('"', compute.replace_substring(column, '"', '""'), '"', "")
    return compute.if_else(special, doubled, column)
