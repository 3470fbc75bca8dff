"""What a job writes: files that are appended to, and cut back to where a killed job had come for sure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa
from pyarrow import ipc, parquet

from batch.files.encode import ArrowEncoder, choose_encoder
from churn.runtime.files import sync

if TYPE_CHECKING:
    from pathlib import Path

    from batch.files.encode import Encoder
    from batch.files.formats import Format
    from batch.files.standard_streams import HashedOutput

GROUP_ROWS = 262_144
"""Rows of a group of a Parquet file, at least; the last may have fewer."""

_COLUMN_KINDS = ("parquet", "arrow")

LOG_ENDING = ".log"


class Sink(Protocol):
    """What batches go into, one after the other."""

    def encode(self, batch: pa.RecordBatch) -> Any:  # noqa: ANN401  bytes of some sort
        """Return what `append` writes of a batch; any thread may call this."""
        ...

    def append(self, data: Any, batch: pa.RecordBatch) -> None:  # noqa: ANN401
        """Write a batch."""
        ...

    def sync(self) -> int:
        """Make what was written survive, and return how long it is: what a job that is resumed begins with."""
        ...

    def finish(self) -> None:
        """Write what comes behind all batches, and close the file."""
        ...

    def close(self) -> None:
        """Close the file as it is; nothing to do if it is closed."""
        ...


class AppendedFile:
    """A file that holds batches one behind the other: CSV, packed or not, or Arrow's stream.

    Parameters
    ----------
    file : binary file
        Where the first batch goes; at its start if nothing was written yet.
    encoder : Encoder
    length : int
        How long it is for sure. The rest of it is cut off.
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
        """Make what was written survive, and return how long it is."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._length

    def finish(self) -> None:
        """Write what comes behind all batches, and close the file."""
        self._length += self._write(self._encoder.tail)
        self.sync()
        self._file.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _write(self, data: pa.Buffer | bytes) -> int:
        return self._file.write(memoryview(data))


class ColumnFile:
    """A file whose end says where its parts are: Parquet, or Arrow's IPC file. It can't be cut and gone on with.

    Parameters
    ----------
    sink : Path or HashedOutput
    form : Format
    schema : pyarrow.Schema
    """

    def __init__(self, sink: Path | HashedOutput, form: Format, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        if form.kind == "parquet":
            # Nearly every customer's probability and identifier is another: a dictionary would be given up anyway.
            texts = [f.name for f in schema if f.name not in (schema.names[0], "probability", "churn")]
            self._parquet = parquet.ParquetWriter(sink, schema, use_dictionary=texts)
            self._arrow = None
        else:
            self._parquet = None
            self._arrow = ipc.new_file(sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch; in Parquet, batches make a group together."""
        if self._arrow is not None:
            self._arrow.write_batch(batch)
            return
        self._pending.append(batch)
        self._rows += len(batch)
        if self._rows >= GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write the end."""
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
    """A `ColumnFile` and, beside it, a log of its batches that it is written from again when a job is resumed.

    Parameters
    ----------
    path : Path
    form : Format
    schema : pyarrow.Schema
    length : int
        Of the log, for sure.
    """

    def __init__(self, path: Path, form: Format, schema: pa.Schema, length: int = 0) -> None:
        self._path, self._log_path = path, path.with_name(path.name + LOG_ENDING)
        self._log = AppendedFile(self._log_path.open("r+b" if length else "wb"), ArrowEncoder(schema), length)
        self.encode = self._log.encode
        self._file = ColumnFile(path, form, schema)
        if length:
            with pa.OSFile(str(self._log_path)) as log, ipc.open_stream(log) as batches:
                for batch in batches:
                    self._file.write(batch)

    def append(self, data: Any, batch: pa.RecordBatch) -> None:  # noqa: ANN401
        """Write a batch."""
        self._log.append(data, batch)
        self._file.write(batch)

    def sync(self) -> int:
        """Make the log survive, and return how long it is."""
        return self._log.sync()

    def finish(self) -> None:
        """Write the file's end."""
        self._file.close()
        sync(self._path)
        self._log.close()

    def close(self) -> None:
        """Close the log as it is; the file is written again."""
        self._log.close()


class PipedFile:
    """A file of any form that can only be written from its start to its end.

    Parameters
    ----------
    file : HashedOutput
    form : Format
    schema : pyarrow.Schema
    """

    def __init__(self, file: HashedOutput, form: Format, schema: pa.Schema) -> None:
        self._file = file
        self._encoder = choose_encoder(form, schema)
        self._columns = ColumnFile(file, form, schema) if form.kind in _COLUMN_KINDS else None
        if self._columns is None:
            file.write(memoryview(self._encoder.head))

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer | None:
        """Return what `append` writes of a batch."""
        return self._encoder.encode(batch) if self._columns is None else None

    def append(self, data: pa.Buffer | None, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        if data is not None:
            self._file.write(memoryview(data))
        elif self._columns is not None:
            self._columns.write(batch)

    def finish(self) -> None:
        """Write what comes behind all batches."""
        if self._columns is None:
            self._file.write(self._encoder.tail)
        else:
            self._columns.close()
        self._file.flush()


def open_sink(path: Path, form: Format, schema: pa.Schema, length: int = 0) -> Sink:
    """Open a file for a job that begins, or is resumed where the file was `length` bytes long for sure."""
    if form.kind in _COLUMN_KINDS:
        return RebuiltFile(path, form, schema, length)
    return AppendedFile(path.open("r+b" if length else "wb"), choose_encoder(form, schema), length)
