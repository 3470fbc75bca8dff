"""Read rows from CSV as it arrives, and write scores as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import TableError
from churn.tables.cells import CellParser, split_records
from churn.tables.csv_header import write_header
from churn.tables.csv_push import CsvPush, RecordTooLongError
from churn.tables.encoding import NotUtf8Error, advise_conversion, is_utf8
from churn.tables.records import count_lines
from service.errors import RequestProblem
from service.tables.rows import check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn.schema import Schema
    from churn.tables.cells import RecordBlock
    from churn.tables.csv_format import CsvFormat
    from churn.tables.rows import Rows
    from service.tables.limits import TableLimits

BLOCK_LINES = 12_288
"""Approximate maximum number of lines that are read at once: more than an ordinary block has. Rows take more memory
than their bytes, above all if each value is explained as an error."""

SHORT_LINES = 4096
"""The same if a cell has one character on average: most likely they are all wrong, and no number."""

SHORT_CELL = 3
"""Bytes of such a cell with its delimiter are fewer."""

UNREADABLE_LINES = 1024
"""The same where not all is UTF-8: each cell is then explained for itself, and the explanations are sorted."""

HELD_BYTES = 4096
"""Bytes by which a block may be longer than what was fed without a quote having held back many rows."""

_ADVICE = "is one of its rows that long, or a quote not closed?"


class CsvReader:
    """Reads customers from CSV. Columns are found by name, in any order.

    Parameters
    ----------
    schema : Schema
    limits : TableLimits
    decimal : {".", ","}, optional
        Decimal separator. Detected in the first rows by default.
    """

    def __init__(self, schema: Schema, limits: TableLimits, decimal: str | None = None) -> None:
        self._schema = schema
        self._limits = limits
        numeric = [feature.name for feature in schema.features if not feature.is_text]
        self._bytes = CsvPush(limits.record, schema.names, numeric, decimal)
        self._names: tuple[str, ...] = ()
        self._parser: CellParser | None = None

    @property
    def buffered(self) -> int:
        """Number of buffered bytes."""
        return self._bytes.buffered

    @property
    def identifier(self) -> pa.DataType | None:
        """Type of the identifiers; None if the table has none."""
        return pa.string() if self._schema.identifier in self._names else None

    def read(self, data: bytes, *, last: bool) -> Iterator[Rows]:
        """Process received bytes and yield complete rows with their errors.

        Raises
        ------
        RequestProblem
            400 if the format can't be determined, 413 if a record is too long, 422 if a column is missing.
        """
        try:
            for piece, is_end in _divide(data, len(self._schema.names)):
                for block in self._bytes.feed(piece, last=last and is_end):
                    if len(block.data) <= len(piece) + HELD_BYTES:  # most; counting their lines again would take long
                        yield self._parse(block)
                    else:
                        yield from map(self._parse, self._split(block))
        except RecordTooLongError as error:
            raise RequestProblem.part_too_large(
                "a record of a CSV", self._limits.record, f"{error}: {_ADVICE}", "max_record_bytes"
            ) from None
        except NotUtf8Error as error:
            raise RequestProblem.malformed_table("csv", f"{error}. {advise_conversion()}") from None
        except TableError as error:
            raise RequestProblem.malformed_table("csv", str(error)) from None
        if last:
            self._open(self._bytes.form)  # a table without rows must have the columns, too

    def _split(self, block: RecordBlock) -> Iterator[RecordBlock]:
        """Divide what an open quote has held back, which may be many rows."""
        lines = count_lines(block.data)
        most = _find_most_lines(block.data, len(self._schema.names), lines)
        form = self._bytes.form
        if form is None or lines <= 2 * most:
            return iter((block,))
        return split_records(block, form.delimiter.encode(), most)

    def _parse(self, block: RecordBlock) -> Rows:
        rows = self._open(self._bytes.form).parse(block)
        self._limits.check_cells(rows.batch)
        return rows

    def _open(self, form: CsvFormat | None) -> CellParser:
        assert form is not None  # noqa: S101  set before the first block
        if self._parser is None:
            self._limits.check_columns(len(form.names))
            self._names = check_columns(self._schema, form.names, form.described)
            self._parser = CellParser(form, self._names, self._schema.features)
        return self._parser


def _divide(data: bytes, columns: int) -> Iterator[tuple[bytes, bool]]:
    """Yield received bytes, with whether they are the end; in pieces if many short rows would take much memory."""
    lines = count_lines(data)
    most = _find_most_lines(data, columns, lines)
    size = len(data) * most // max(lines, most) + 1
    for first in range(0, max(len(data), 1), size):
        yield data[first : first + size], first + size >= len(data)


def _find_most_lines(data: bytes, columns: int, lines: int) -> int:
    """Return how many of these lines are read at once."""
    if not is_utf8(data):
        return UNREADABLE_LINES
    return SHORT_LINES if len(data) < SHORT_CELL * columns * lines else BLOCK_LINES


class CsvWriter:
    """Writes scores as CSV with header, commas, quotes only where necessary, and empty fields for null."""

    def begin(self, form: pa.Schema) -> bytes:
        """Return the bytes before the first row."""
        return write_header(form.names)

    def write(self, batch: pa.RecordBatch) -> bytes:
        """Return the encoded rows."""
        if not len(batch):
            return b""
        cells = [_quote(column) if pa.types.is_string(column.type) else column.cast(pa.string()) for column in batch]
        lines = compute.binary_join_element_wise(*cells, ",", null_handling="replace", null_replacement="")
        ended = compute.binary_join_element_wise(lines, "", "\n")
        _, offsets, text = ended.buffers()  # the strings of an array are contiguous in memory
        length = int(np.frombuffer(offsets, dtype=np.int32)[len(batch)])
        return text.to_pybytes()[:length]  # type: ignore[no-any-return]

    def end(self) -> bytes:
        """Return the bytes after the last row."""
        return b""


def _quote(column: pa.Array) -> pa.Array:
    special = compute.match_substring_regex(column, '[",\r\n]')
    if not compute.any(special).as_py():
        return column
    doubled = compute.binary_join_element_wise('"', compute.replace_substring(column, '"', '""'), '"', "")
    return compute.if_else(special, doubled, column)
