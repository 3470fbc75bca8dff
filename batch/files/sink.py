"""Output files of a job: appended to, and truncated to the last durable length when a job is resumed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa
from pyarrow import ipc, parquet

from batch.files.encode import ArrowEncoder, choose_encoder
from churn.runtime.files import sync

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from batch.files.encode import Encoder
    from batch.files.formats import Format
    from batch.files.standard_streams import HashedOutput

GROUP_ROWS = 262_144
"""Minimum number of rows in a Parquet row group, except for the last one."""

_COLUMN_KINDS = ("parquet", "arrow")

LOG_ENDING = ".log"


class Sink(Protocol):
    """An output file that receives batches in sequence."""

    def encode(self, batch: pa.RecordBatch) -> Any:  # noqa: ANN401  bytes of some sort
        """Return the encoded batch for `append`; may be called from any thread."""
        ...

    def append(self, data: Any, batch: pa.RecordBatch) -> None:  # noqa: ANN401
        """Write a batch."""
        ...

    def sync(self) -> int:
        """Flush to disk and return the length to which a resumed job truncates the file."""
        ...

    def finish(self) -> None:
        """Write the end of the file and close it."""
        ...

    def close(self) -> None:
        """Close the file without writing its end; does nothing if it is closed."""
        ...


class AppendedFile:
    """A file to which batches are appended: CSV, compressed or not, or an Arrow stream.

    Parameters
    ----------
    file : binary file
        Opened for reading and writing.
    encoder : Encoder
    length : int
        Durable length in bytes. The rest of the file is truncated.
    """

    def __init__(self, file: BinaryIO, encoder: Encoder, length: int = 0) -> None:
        self._file = file
        self._encoder = encoder
        self.encode = encoder.encode
        if length:
            file.truncate(length)
            file.seek(length)
        self._length = length or self._write(encoder.head)

    def append(self, data: Any, batch: pa.RecordBatch) -> None:  # noqa: ANN401, ARG002
        """Write a batch."""
        self._length += self._write(data)

    def sync(self) -> int:
        """Flush to disk and return the length."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._length

    def finish(self) -> None:
        """Write what comes behind all batches, and close the file."""
        self._length += self._write(self._encoder.tail)
        self.sync()
        self._file.close()

    def close(self) -> None:
        """Close the file without writing its end."""
        self._file.close()

    def _write(self, data: pa.Buffer | bytes) -> int:
        return self._file.write(memoryview(data))


class ColumnFile:
    """A Parquet or Arrow IPC file. Its footer locates its parts, so it can't be truncated and appended to.

    Parameters
    ----------
    sink : Path or HashedOutput
    form : Format
    schema : pyarrow.Schema
    distinct : collection of str
        Columns whose values nearly all differ, so that the writer of Parquet would abandon a dictionary anyway.
    """

    def __init__(
        self, sink: Path | HashedOutput, form: Format, schema: pa.Schema, distinct: Collection[str] = ()
    ) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        if form.kind == "parquet":
            repeated = [name for name in schema.names if name not in distinct]
            self._parquet = parquet.ParquetWriter(sink, schema, use_dictionary=repeated)
            self._arrow = None
        else:
            self._parquet = None
            self._arrow = ipc.new_file(sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch; in Parquet, several batches form a row group."""
        if self._arrow is not None:
            self._arrow.write_batch(batch)
            return
        self._pending.append(batch)
        self._rows += len(batch)
        if self._rows >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write the footer and close the file."""
        if self._arrow is not None:
            self._arrow.close()
        else:
            self._write_group()
            self._parquet.close()

    def _write_group(self) -> None:
        if self._rows:
            self._parquet.write_table(pa.Table.from_batches(self._pending), row_group_size=self._rows)
        self._pending, self._rows = [], 0


class RebuiltFile:
    """A `ColumnFile` with a log of its batches, from which it is rewritten when a job is resumed.

    Parameters
    ----------
    path : Path
    form : Format
    schema : pyarrow.Schema
    length : int
        Durable length of the log in bytes.
    distinct : collection of str
        See `ColumnFile`.
    """

    def __init__(
        self, path: Path, form: Format, schema: pa.Schema, length: int = 0, distinct: Collection[str] = ()
    ) -> None:
        self._path, self._log_path = path, path.with_name(path.name + LOG_ENDING)
        self._log = AppendedFile(self._log_path.open("r+b" if length else "wb"), ArrowEncoder(schema), length)
        self.encode = self._log.encode
        self._file = ColumnFile(path, form, schema, distinct)
        if length:
            with pa.OSFile(str(self._log_path)) as log, ipc.open_stream(log) as batches:
                for batch in batches:
                    self._file.write(batch)

    def append(self, data: Any, batch: pa.RecordBatch) -> None:  # noqa: ANN401
        """Write a batch."""
        self._log.append(data, batch)
        self._file.write(batch)

    def sync(self) -> int:
        """Flush the log to disk and return its length."""
        return self._log.sync()

    def finish(self) -> None:
        """Write the footer of the file and close it."""
        self._file.close()
        sync(self._path)
        self._log.close()

    def close(self) -> None:
        """Close the log; the file is rewritten when the job is resumed."""
        self._log.close()


class PipedFile:
    """A file of any format that is written sequentially, such as standard output.

    Parameters
    ----------
    file : HashedOutput
    form : Format
    schema : pyarrow.Schema
    distinct : collection of str
        See `ColumnFile`.
    """

    def __init__(self, file: HashedOutput, form: Format, schema: pa.Schema, distinct: Collection[str] = ()) -> None:
        self._file = file
        self._encoder = choose_encoder(form, schema)
        self._columns = ColumnFile(file, form, schema, distinct) if form.kind in _COLUMN_KINDS else None
        if self._columns is None:
            file.write(memoryview(self._encoder.head))

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer | None:
        """Return the encoded batch for `append`."""
        return self._encoder.encode(batch) if self._columns is None else None

    def append(self, data: pa.Buffer | None, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        if data is not None:
            self._file.write(memoryview(data))
        elif self._columns is not None:
            self._columns.write(batch)

    def finish(self) -> None:
        """Write the end of the file."""
        if self._columns is None:
            self._file.write(self._encoder.tail)
        else:
            self._columns.close()
        self._file.flush()


def open_sink(path: Path, form: Format, schema: pa.Schema, length: int = 0, distinct: Collection[str] = ()) -> Sink:
    """Open an output file for a new job, or for a job resumed when the file had a durable length of `length` bytes.

    `distinct` are columns of a Parquet file whose values nearly all differ.
    """
    if form.kind in _COLUMN_KINDS:
        return RebuiltFile(path, form, schema, length, distinct)
    return AppendedFile(path.open("r+b" if length else "wb"), choose_encoder(form, schema), length)
