"""Read rows from an Arrow stream as it arrives, and write scores as an Arrow stream."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, ipc, types

from churn import identifiers
from churn.names import normalize_names
from churn.tables.encode import READABLE, is_readable
from churn.tables.rows import Rows
from churn.tables.shared_texts import compact
from service.errors import RequestProblem
from service.tables.arrow_messages import DICTIONARY, RECORD_BATCH, SCHEMA, MalformedError, Message, read_head
from service.tables.rows import check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema
    from service.tables.limits import TableLimits

SLICE_ROWS = 8192
"""Maximum number of rows scored together."""

JOINED_ROWS = 1024
"""Batches without dictionaries are joined up to this number of rows."""

SLICE_BYTES = 4 * 2**20
"""Maximum size in bytes of the texts in these rows, which may be stored once in the table."""

MAX_HEAD_BYTES = 2**20
"""Maximum size in bytes of the head of a message: the description of the columns, or of their buffers."""

ROWS_PER_BYTE = 8
"""Maximum number of rows per byte of a message: a cell takes a bit at least, unless all of a column are null."""

EXTENSIONS = 8
"""Extensions of dictionaries copy them; they may copy so many times the maximum size of a message."""

END = b"\xff\xff\xff\xff\0\0\0\0"
"""End marker of a stream."""

_ADVICE = "write smaller batches"


class ArrowReader:
    """Reads customers from an Arrow stream. Columns are found by name; numbers may be given as strings.

    Parameters
    ----------
    schema : Schema
    limits : TableLimits
    decimal : {".", ","}, optional
        Decimal separator of numbers in string columns. Defaults to a point.
    """

    def __init__(self, schema: Schema, limits: TableLimits, decimal: str | None = None) -> None:
        self._schema = schema
        self._decimals: dict[str, Decimal] = dict.fromkeys(schema.names, ",") if decimal == "," else {}
        self._limits = limits
        self._waiting = bytearray()
        self._source = _Source()
        self._reader: ipc.RecordBatchStreamReader | None = None
        self._dictionaries: dict[int, int] = {}
        self._copied = 0  # bytes of dictionaries that were copied to extend them
        self._unread = 0  # bytes of dictionaries since the last batch
        self._is_ended = False
        self._names: list[str] = []
        self._total = 0

    @property
    def buffered(self) -> int:
        """Number of buffered bytes, including dictionaries."""
        return len(self._waiting) + sum(self._dictionaries.values())

    @property
    def identifier(self) -> pa.DataType | None:
        """Type of the identifiers in the response; None if the table has none."""
        if self._reader is None or self._schema.identifier not in self._names:
            return None
        return identifiers.choose_type(self._reader.schema.field(self._names.index(self._schema.identifier)).type)

    def read(self, data: bytes, *, last: bool) -> Iterator[Rows]:
        """Process received bytes and yield complete rows.

        Raises
        ------
        RequestProblem
            400 if it is not an Arrow stream, 413 if a batch is too large, 422 if a column is missing or has a wrong
            type.
        """
        self._waiting += data
        self._total += len(data)
        small: list[pa.RecordBatch] = []
        count = 0  # of their rows
        while not self._is_ended and (message := self._take_message()) is not None:
            if message.kind == RECORD_BATCH:
                batch = self._read_batch()
                # Small batches are scored together: each block costs as much as a few hundred rows.
                if self._dictionaries or count + len(batch) > JOINED_ROWS:
                    yield from self._divide(small)
                    small, count = [], 0
                small.append(batch)
                count += len(batch)
        yield from self._divide(small)
        if self._is_ended and self._waiting:
            end = self._total - len(self._waiting)
            raise _malformed(f"the stream ends at byte {end}, and more bytes follow; send one stream, with all batches")
        if last and not self._is_ended:
            raise _malformed(f"the stream {self._explain_end()}")

    def _explain_end(self) -> str:
        if self._waiting:
            return "is cut off in the middle of a message"
        return "is empty" if self._reader is None else "has no end marker, so it may be cut off; close its writer"

    def _take_message(self) -> Message | None:
        """Pass the next message to pyarrow's reader if it is complete."""
        try:
            message = read_head(self._waiting, MAX_HEAD_BYTES)
        except MalformedError:
            is_file = self._waiting.startswith(b"ARROW1")
            raise _malformed(
                "this is an Arrow file; send an Arrow stream" if is_file else "not an Arrow stream"
            ) from None
        if message is None:
            return None
        self._check(message)
        if len(self._waiting) < message.size:
            return None
        data = bytes(memoryview(self._waiting)[: message.size])
        del self._waiting[: message.size]
        if message.kind == DICTIONARY:
            self._count_dictionary(message)
        if message.kind == SCHEMA:
            self._reader = self._open(data)
        else:
            self._source.put(data)
        self._is_ended = message.kind == 0
        return message

    def _check(self, message: Message) -> None:
        if (message.kind == SCHEMA) == (self._reader is not None) or message.kind > RECORD_BATCH:
            raise _malformed("a stream is one schema, then dictionaries and batches of rows")
        if message.is_compressed:
            raise _malformed("its batches are compressed; write them without compression")
        size, what = message.size, "a batch"
        if message.kind == DICTIONARY:
            size, what = max(size, self._add_dictionaries(message)), "all dictionaries"
        if size > self._limits.part:
            raise RequestProblem.part_too_large(f"{what} of an Arrow stream", self._limits.part, _ADVICE)
        if not 0 <= message.rows <= message.size * ROWS_PER_BYTE:
            raise _malformed(
                f"a message of {message.size} bytes has {message.rows} rows; allowed: {ROWS_PER_BYTE} per byte, since "
                "a column that is read can't consist of nulls"
            )

    def _add_dictionaries(self, message: Message) -> int:
        """Return the size of all dictionaries with one that is about to arrive.

        It is called again until the message is complete.
        """
        others = sum(size for name, size in self._dictionaries.items() if name != message.dictionary)
        before = self._dictionaries.get(message.dictionary, 0) if message.is_delta else 0
        return max(others + before, self._unread) + message.size

    def _count_dictionary(self, message: Message) -> None:
        """Count a complete dictionary."""
        before = self._dictionaries.get(message.dictionary, 0) if message.is_delta else 0
        self._dictionaries[message.dictionary] = before + message.size
        self._unread += message.size
        self._copied += before
        if self._copied > EXTENSIONS * self._limits.part:
            raise _malformed("its dictionaries are extended too often; replace them, or write larger batches")

    def _open(self, data: bytes) -> ipc.RecordBatchStreamReader:
        try:
            form = ipc.read_schema(pa.py_buffer(data))
            self._limits.check_columns(len(form.names))
            names = normalize_names(form.names)
            wanted = check_columns(self._schema, names)
            chosen = sorted(names.index(name) for name in wanted)
            self._names = [names[position] for position in chosen]
            self._check_types([form.field(position).with_name(names[position]) for position in chosen])
            # Other columns are never decoded.
            options = ipc.IpcReadOptions(included_fields=chosen, use_threads=False)
            self._source.put(data)
            return ipc.open_stream(pa.PythonFile(self._source, mode="r"), options=options)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _malformed(f"its schema can't be read: {error}") from None

    def _check_types(self, fields: list[pa.Field]) -> None:
        errors = []
        for field in fields:
            is_name = field.name == self._schema.identifier
            if not (identifiers.is_possible(field.type) if is_name else is_readable(field.type)):
                reason, allowed = f"has the type {field.type}", identifiers.ALLOWED if is_name else READABLE
                errors.append(
                    {"customer": None, "field": field.name, "reason": reason, "sent": None, "allowed": allowed}
                )
        if errors:
            raise RequestProblem.invalid(errors, more=False)

    def _read_batch(self) -> pa.RecordBatch:
        assert self._reader is not None  # noqa: S101  a batch before the schema is rejected
        try:
            batch = self._reader.read_next_batch().rename_columns(self._names)
            self._validate(batch)
        except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
            raise _malformed(f"a batch can't be read: {error}") from None
        return batch

    def _divide(self, batches: list[pa.RecordBatch]) -> Iterator[Rows]:
        """Yield the rows of batches in parts of limited size."""
        if not batches:
            return
        batch = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
        for first in range(0, len(batch), SLICE_ROWS):
            part = batch.slice(first, SLICE_ROWS)
            part = pa.record_batch([compact(column) for column in part.columns], self._names)
            for rows in _divide(part, np.cumsum(self._limits.check_cells(part))):
                yield Rows(rows, len(rows), decimals=self._decimals)

    def _validate(self, batch: pa.RecordBatch) -> None:
        """Check offsets and indices, which may be invalid in untrusted data; each dictionary only once.

        Raises
        ------
        pyarrow.ArrowInvalid
        """
        batch.validate()
        has_new, self._unread = self._unread > 0, 0
        for column in batch.columns:
            if not types.is_dictionary(column.type):
                column.validate(full=True)
                continue
            if has_new:
                column.dictionary.validate(full=True)
            column.indices.validate(full=True)
            bounds = compute.min_max(column.indices).as_py()
            if bounds["min"] is not None and not 0 <= bounds["min"] <= bounds["max"] < len(column.dictionary):
                raise pa.ArrowInvalid("an index is outside its dictionary")


def _divide(batch: pa.RecordBatch, ends: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a batch in parts with few texts; `ends` are the sums of their sizes up to each row."""
    first = 0
    while first < len(batch):
        before = ends[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + SLICE_BYTES, side="right")))
        yield batch.slice(first, stop - first)
        first = stop


class _Source:
    """A file with the data that pyarrow's reader may read now."""

    closed = False

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._position = 0

    def put(self, data: bytes) -> None:
        """Append a message."""
        self._parts.append(data)

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes."""
        found = []
        while size and self._parts:
            part = self._parts[0][self._position : self._position + size]
            found.append(part)
            size -= len(part)
            self._position += len(part)
            if self._position == len(self._parts[0]):
                self._parts.popleft()
                self._position = 0
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        """Do nothing; required by the interface."""


def _malformed(detail: str) -> RequestProblem:
    return RequestProblem.malformed_table("arrow", detail)


class ArrowWriter:
    """Writes scores as an Arrow stream."""

    def begin(self, form: pa.Schema) -> bytes:
        """Return the bytes before the first row."""
        schema: bytes = form.serialize().to_pybytes()
        return schema

    def write(self, batch: pa.RecordBatch) -> bytes:
        """Return the encoded rows."""
        rows: bytes = batch.serialize().to_pybytes() if len(batch) else b""
        return rows

    def end(self) -> bytes:
        """Return the bytes after the last row."""
        return END
