"""Batches of columns to bytes that are appended to a file, so that a file cut behind any of them is a whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from batch.files.formats import Codec, Format

_LEVELS: dict[Codec, int] = {"gzip": 6, "zstd": 3}
"""What the commands of the same names do by themselves."""


class Encoder(Protocol):
    """How a file is written.

    Attributes
    ----------
    head, tail : bytes-like
        What comes before all batches, and behind them.
    """

    head: pa.Buffer | bytes
    tail: bytes

    def encode(self, batch: pa.RecordBatch) -> pa.Buffer:
        """Return the bytes of a batch; the same for the same batch."""
        ...


class CsvEncoder:
    """Lines of a CSV file; packed, each batch is a member (gzip) or frame (zstd) of its own.

    All texts of a batch are quoted if one of them has to be: that is Arrow's way, and as right as any.

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
        except pa.ArrowInvalid:  # some text has a comma, a quote or a line end
            lines = _write_csv(rows, "needed", has_header=has_header)
        if self._codec is None or not lines.size:
            return lines
        # Made anew each time: two threads can't share one.
        return pa.Codec(self._codec, compression_level=_LEVELS[self._codec]).compress(lines)


def _write_csv(rows: pa.RecordBatch | pa.Table, quoting: str, *, has_header: bool) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    csv.write_csv(rows, sink, csv.WriteOptions(include_header=has_header, quoting_style=quoting))
    return sink.getvalue()


class ArrowEncoder:
    """Messages of Arrow's IPC stream.

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
    """Return the encoder of a form that is appended to: CSV, or Arrow's stream, in which others are kept meanwhile."""
    return CsvEncoder(schema, form.codec) if form.kind == "csv" else ArrowEncoder(schema)
