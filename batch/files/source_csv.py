"""A CSV file, plain or packed, as pieces of whole records."""

from __future__ import annotations

import csv as text_csv
import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch.files.blocks import BlockStep, add_partitions
from batch.files.csv_parse import CsvBlock, CsvParser
from batch.files.csv_records import cut_records
from churn.errors import TableError
from churn.names import normalize_names
from churn.runtime.files import find_delimiter

if TYPE_CHECKING:
    from collections.abc import Generator

    from batch.columns import Columns
    from batch.files.formats import Format
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput

BLOCK_BYTES = 4 << 20
"""Bytes of a file, unpacked, that are parsed and scored at once."""

HEAD_BYTES = 1 << 20
"""Bytes in which the header must end."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvFile:
    """A CSV file: comma or semicolon, with a header.

    Parameters
    ----------
    file : InputFile or StandardInput
    form : Format

    Attributes
    ----------
    schema : pyarrow.Schema
        Its columns, all text, with those its folders tell.

    Raises
    ------
    TableError
        If the header can't be read.
    """

    def __init__(self, file: InputFile | StandardInput, form: Format) -> None:
        self._file = file
        self._form = form
        raw, stream = self._open()
        self._head = _read(stream, HEAD_BYTES)
        self._newline = b"\n" if b"\n" in self._head or b"\r" not in self._head else b"\r"
        start = len(BYTE_ORDER_MARK) if self._head.startswith(BYTE_ORDER_MARK) else 0
        while self._head[start : start + 1] in (b"\r", b"\n"):
            start += 1
        line, self._first = self._find_header(start)
        self._delimiter = find_delimiter(line)
        header = next(text_csv.reader(io.StringIO(line, newline=""), delimiter=self._delimiter))
        self._header = normalize_names(header)
        self.schema = add_partitions(pa.schema([(name, pa.string()) for name in self._header]), file)
        # What stands in no file is read once; of many files, not all are held open.
        self._opened = None if file.can_reopen else (raw, stream)
        if file.can_reopen:
            self._head = b""
            raw.close()

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield pieces of about `BLOCK_BYTES`, from a byte of the unpacked file on."""
        parser = CsvParser(self._header, columns, self._delimiter, self._file)
        position = offset or self._first
        if self._opened is None:
            raw, stream = self._open()
            _skip(stream, position, can_seek=self._form.codec is None)
            data = b""
        else:
            raw, stream = self._opened
            data = self._head[position:]
        # A piece is as long as it is wherever reading begins, so that a resumed job cuts where a whole one would.
        wanted = BLOCK_BYTES
        is_last = False
        while not is_last:
            data += _read(stream, wanted - len(data))
            is_last = len(data) < wanted
            cut = cut_records(data[:wanted], self._delimiter.encode(), self._newline, is_last=is_last)
            if not cut.end:
                wanted += BLOCK_BYTES
                continue
            position += cut.end
            share = raw.tell() / self._file.size if self._file.size else float("nan")
            yield BlockStep(CsvBlock(parser, data[: cut.end], cut.unclosed), position, share)
            data, wanted = data[cut.end :], BLOCK_BYTES

    def _open(self) -> tuple[Any, Any]:
        raw = self._file.open()
        return raw, raw if self._form.codec is None else pa.CompressedInputStream(raw, self._form.codec)

    def _find_header(self, start: int) -> tuple[str, int]:
        """Return the first record's text and where the next begins."""
        if self._head.startswith(_UTF16):
            raise TableError(f"{self._file.name}: can't be read: it is UTF-16; allowed: UTF-8")
        end = start
        while end < len(self._head):
            end = self._head.find(self._newline, end) + 1 or len(self._head)
            line = self._head[start:end]
            delimiter = find_delimiter(line.decode("utf-8", "replace")).encode()
            is_last = end == len(self._head)
            cut = cut_records(line, delimiter, self._newline, is_last=is_last)
            if cut.end == len(line) and not cut.unclosed:
                try:
                    return line.decode(), end
                except UnicodeDecodeError as error:
                    raise TableError(f"{self._file.name}: can't be read: the header is not UTF-8: {error}") from error
        if end == start:
            raise TableError(f"{self._file.name}: can't be read: it is empty, without a header")
        raise TableError(f"{self._file.name}: can't be read: the header has a quote that does not close")


def _read(stream: Any, count: int) -> bytes:  # noqa: ANN401  a stream of Arrow or Python
    """Read `count` bytes, or all there are: a pipe gives fewer at a time."""
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _skip(stream: Any, count: int, *, can_seek: bool) -> None:  # noqa: ANN401
    if can_seek:
        stream.seek(count)
        return
    while count and (part := stream.read(min(count, BLOCK_BYTES))):
        count -= len(part)
