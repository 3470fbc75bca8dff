"""Read Parquet, Arrow IPC files and Arrow IPC streams as batches of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import ipc, parquet

from batch.files.arrow_footer import UNREAD_BYTES, measure_unread
from batch.files.blocks import SLOW_ROWS, BlockStep, add_partitions, fill_partitions
from churn.errors import TableError
from churn.names import normalize, normalize_names
from churn.tables.encode import READABLE, is_readable
from churn.tables.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from batch.columns import Columns
    from batch.files.formats import Format
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput
    from churn.numerals import Decimal
    from churn.schema import Schema

BATCH_ROWS = 65_536
"""Number of rows per block."""

_DICTIONARY_ENCODINGS = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBlock:
    """A block that is already in columns, with the decimal separator of its strings."""

    batch: pa.RecordBatch
    decimals: Mapping[str, Decimal]

    def parse(self) -> Rows:
        """Return the batch."""
        return Rows(self.batch, len(self.batch), decimals=self.decimals)


class _ColumnTable:
    """Base class of columnar files.

    Parameters
    ----------
    file : InputFile or StandardInput
    form : Format
    schema : Schema
        Schema of the model.
    decimal : {".", ","}, optional
        Decimal separator of numbers in string columns. Defaults to a point.
    is_slow : bool
        Whether a row takes milliseconds, so that blocks should be small.

    Attributes
    ----------
    schema : pyarrow.Schema
        Columns of the file, including partition columns.

    Raises
    ------
    TableError
        If a required column has an unsupported type.
    """

    described = ""

    def __init__(
        self,
        file: InputFile | StandardInput,
        form: Format,  # noqa: ARG002  common signature
        schema: Schema,
        decimal: str | None,
        *,
        is_slow: bool = False,
    ) -> None:
        self._file = file
        self._batch_rows = SLOW_ROWS if is_slow else BATCH_ROWS
        self._decimals: dict[str, Decimal] = dict.fromkeys(schema.names, ",") if decimal == "," else {}
        stored = self._read_schema()
        self._stored = stored.names
        self._own = pa.schema([field.with_name(normalize(field.name.strip())) for field in stored])
        for field in self._own:
            if field.name in schema.names and not is_readable(field.type):
                raise TableError(f"{file.name}: the column {field.name} has the type {field.type}; allowed: {READABLE}")
        self.schema = add_partitions(self._own, file)

    def _read_schema(self) -> pa.Schema:
        raise NotImplementedError

    def _step(
        self, batches: Iterable[pa.RecordBatch], columns: Columns, row: int, offset: int, total: int
    ) -> Iterator[BlockStep]:
        """Yield the batches from the offset on; `row` is the row number of the first batch."""
        for batch in batches:
            row += len(batch)
            if row > offset:
                batch = batch.rename_columns(normalize_names(batch.schema.names))
                own = batch.select([name for name in columns.names if name in batch.schema.names])
                block = ColumnBlock(fill_partitions(own, columns, self._file), self._decimals)
                yield BlockStep(block, row, row / total)


class ParquetTable(_ColumnTable):
    """A Parquet file."""

    def _read_schema(self) -> pa.Schema:
        with self._file.open() as opened, parquet.ParquetFile(opened) as table:
            self._words = {*_find_dictionaries(table.metadata)}
            return table.schema_arrow

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on; reading starts with the row group that contains it."""
        fields = [
            (name, field) for name, field in zip(self._stored, self._own, strict=True) if field.name in columns.names
        ]
        own = [name for name, _ in fields]
        # String features are read as dictionaries, so that each distinct value is decoded once.
        texts = {*columns.schema.names} - {*columns.keep}
        words = [name for name, field in fields if _is_text(field.type) and field.name in texts and name in self._words]
        with self._file.open() as opened, parquet.ParquetFile(opened, read_dictionary=words) as table:
            total = table.metadata.num_rows
            row = 0
            for group in range(table.num_row_groups):
                end = row + table.metadata.row_group(group).num_rows
                if end > offset:
                    batches = table.iter_batches(self._batch_rows, [group], columns=own, use_threads=False)
                    yield from self._step(batches, columns, row, offset, total)
                row = end


def _find_dictionaries(metadata: parquet.FileMetaData) -> Iterator[str]:
    """Yield the columns that can be read as dictionaries; Arrow can't for delta-encoded strings."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    for index in range(metadata.num_columns):
        used = {encoding for group in groups for encoding in group.column(index).encodings}
        if used <= _DICTIONARY_ENCODINGS:
            yield metadata.schema.column(index).path


class ArrowFile(_ColumnTable):
    """An Arrow IPC file (Feather version 2)."""

    def _read_schema(self) -> pa.Schema:
        with self._file.open() as opened, ipc.open_file(opened) as reader:
            return reader.schema

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on with the required columns."""
        own = [index for index, name in enumerate(self._own.names) if name in columns.names]
        options = ipc.IpcReadOptions(included_fields=own)
        with self._file.open() as opened, ipc.open_file(opened, options=options) as reader:
            count = reader.num_record_batches
            row = 0
            for index in range(count):
                batch = reader.get_batch(index)
                end = row + len(batch)
                if end > offset:
                    for step in self._step(_slice(batch, self._batch_rows), columns, row, offset, end):
                        yield step._replace(share=(index + step.share) / count)
                row = end
            unread = measure_unread(opened)
        if unread > UNREAD_BYTES:
            raise TableError(
                f"{self._file.name}: {unread:,} bytes of the file belong to no batch, as if several files had been "
                "joined; write one file, with all batches"
            )


class ArrowStream(_ColumnTable):
    """An Arrow IPC stream, which must have an end marker and nothing after it."""

    def _read_schema(self) -> pa.Schema:
        raw, reader = self._open()
        # A file that can't be opened again is read further.
        self._opened = None if self._file.can_reopen else (raw, reader)
        return reader.schema

    def _open(self) -> tuple[_WatchedFile, ipc.RecordBatchStreamReader]:
        raw = _WatchedFile(self._file.open())
        return raw, ipc.open_stream(pa.PythonFile(raw, mode="r"))

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on; earlier batches are read and discarded."""
        raw, reader = self._opened or self._open()
        row = 0
        for batch in reader:
            end = row + len(batch)
            if end > offset:
                share = raw.tell() / self._file.size if self._file.size else float("nan")
                for step in self._step(_slice(batch, self._batch_rows), columns, row, offset, end):
                    yield step._replace(share=share)
            row = end
        if raw.has_ended:
            raise TableError(
                f"{self._file.name}: the stream has no end marker, so it may be truncated; close its writer"
            )
        if raw.read(1):
            raise TableError(
                f"{self._file.name}: the stream ends at byte {raw.tell() - 1}, and more bytes follow; write one "
                "stream, with all batches"
            )


class _WatchedFile:
    """A file that records whether its end was reached.

    Attributes
    ----------
    has_ended : bool
        Whether more bytes were requested than available.
    """

    closed = False

    def __init__(self, file: Any) -> None:  # noqa: ANN401  Arrow has no types for mypy
        self._file = file
        self.has_ended = False

    def read(self, count: int) -> bytes:
        """Read `count` bytes, or fewer at the end."""
        data: bytes = self._file.read(count)
        while len(data) < count and (more := self._file.read(count - len(data))):  # a pipe may return fewer bytes
            data += more
        self.has_ended |= len(data) < count
        return data

    def tell(self) -> int:
        """Return the number of bytes read."""
        return int(self._file.tell())

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _slice(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(batch), rows):
        yield batch.slice(start, rows)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
