"""Read rows from CSV as it arrives, and write scores as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import TableError
from churn.tables.cells import CellParser
from churn.tables.csv_header import write_header
from churn.tables.csv_push import CsvPush, RecordTooLongError
from churn.tables.encoding import NotUtf8Error, advise_conversion
from service.errors import RequestProblem
from service.tables.rows import check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churn.schema import Schema
    from churn.tables.csv_format import CsvFormat
    from churn.tables.rows import Rows

_ADVICE = "is one of its rows that long, or a quote not closed?"


class CsvReader:
    """Reads customers from CSV. Columns are found by name, in any order.

    Parameters
    ----------
    schema : Schema
    max_record : int
        Maximum length of a record in bytes.
    decimal : {".", ","}, optional
        Decimal separator. Detected in the first rows by default.
    """

    def __init__(self, schema: Schema, max_record: int, decimal: str | None = None) -> None:
        self._schema = schema
        self._max_record = max_record
        numeric = [feature.name for feature in schema.features if not feature.is_text]
        self._bytes = CsvPush(max_record, schema.names, numeric, decimal)
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
            for block in self._bytes.feed(data, last=last):
                yield self._open(self._bytes.form).parse(block)
        except RecordTooLongError as error:
            raise RequestProblem.part_too_large("a record of a CSV", self._max_record, f"{error}: {_ADVICE}") from None
        except NotUtf8Error as error:
            raise RequestProblem.malformed_table("csv", f"{error}. {advise_conversion()}") from None
        except TableError as error:
            raise RequestProblem.malformed_table("csv", str(error)) from None
        if last:
            self._open(self._bytes.form)  # a table without rows must have the columns, too

    def _open(self, form: CsvFormat | None) -> CellParser:
        assert form is not None  # noqa: S101  set before the first block
        if self._parser is None:
            self._names = check_columns(self._schema, form.names, form.described)
            self._parser = CellParser(form, self._names, self._schema.features)
        return self._parser


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
