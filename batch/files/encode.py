"""Encode batches of columns as bytes that can be appended independently, so that a file can end after any batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyarrow import csv

from churn.tables.csv_header import write_header

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
        self.head = self._compress(pa.py_buffer(write_header(schema.names)))

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the bytes of a batch."""
        try:
            lines = _write_rows(batch, "none")
        except pa.ArrowInvalid:  # a string contains a comma, a quote or a line break
            lines = _write_rows(batch, "needed")
        return self._compress(lines)

    def _compress(self, lines: pa.Buffer) -> pa.Buffer:
        if self._codec is None or not lines.size:
            return lines
        # Created for each batch, because threads can't share one.
        return pa.Codec(self._codec, compression_level=_LEVELS[self._codec]).compress(lines)


def _write_rows(batch: pa.RecordBatch, quoting: str) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    csv.write_csv(batch, sink, csv.WriteOptions(include_header=False, quoting_style=quoting))
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
