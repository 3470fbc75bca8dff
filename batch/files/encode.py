"""Encode batches of columns as bytes that can be appended independently, so that a file can end after any batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from batch.files.formats import Codec, Format

_LEVELS: dict[Codec, int] = {"gzip": 6, "zstd": 3}
"""Default compression levels of the commands gzip and zstd."""


class Encoder(Protocol):
    """Encodes batches for a file.

    Attributes
    ----------
    head, tail : bytes-like
        Bytes before the first and after the last batch.
    """

    head: pa.Buffer | bytes
    tail: bytes

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the bytes of a batch; deterministic."""
        ...


class CsvEncoder:
    """Encodes batches as lines of CSV; compressed, each batch is a separate gzip member or zstd frame.

    If one string of a batch must be quoted, all strings of the batch are quoted, as pyarrow does.

    Parameters
    ----------
    schema : pyarrow.Schema
    codec : {"gzip", "zstd"}, optional
    """

    tail = b""

    def __init__(self, schema: pa.Schema, codec: Codec | None = None) -> None:
        self._codec = codec
        self.head = self._write(schema.empty_table(), has_header=True)

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the bytes of a batch."""
        return self._write(batch, has_header=False)

    def _write(self, rows: pa.RecordBatch | pa.Table, *, has_header: bool) -> pa.Buffer:
        try:
            lines = _write_csv(rows, "none", has_header=has_header)
        except pa.ArrowInvalid:  # a string contains a comma, a quote or a line break
            lines = _write_csv(rows, "needed", has_header=has_header)
        if self._codec is None or not lines.size:
            return lines
        # Created for each batch, because threads can't share one.
        return pa.Codec(self._codec, compression_level=_LEVELS[self._codec]).compress(lines)


def _write_csv(rows: pa.RecordBatch | pa.Table, quoting: str, *, has_header: bool) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=has_header, quoting_style=quoting))
    return sink.getvalue()


class ArrowEncoder:
    """Encodes batches as messages of an Arrow IPC stream.

    Parameters
    ----------
    schema : pyarrow.Schema
    """

    tail = b"\xff\xff\xff\xff\x00\x00\x00\x00"

    def __init__(self, schema: pa.Schema) -> None:
        self.head = schema.serialize()

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the bytes of a batch."""
        return batch.serialize()


def choose_encoder(form: Format, schema: pa.Schema) -> Encoder:
    """Return the encoder for a format: CSV, or an Arrow stream, which also serves as the log of the other formats."""
    return CsvEncoder(schema, form.codec) if form.kind == "csv" else ArrowEncoder(schema)
