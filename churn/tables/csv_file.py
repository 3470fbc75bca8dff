"""Read a CSV from a file or a pipe as blocks of complete records."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.errors import TableError
from churn.tables.cells import RecordBlock
from churn.tables.csv_format import HEAD_BYTES, SAMPLE_BYTES, find_csv_format
from churn.tables.encoding import TextStream
from churn.tables.records import count_lines, cut_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from churn.tables.csv_format import CsvFormat

BLOCK_BYTES = 4 << 20
"""Approximate size of a block in bytes."""


class PositionedBlock(NamedTuple):
    """A block, and the offset of the next one in bytes of the table in UTF-8 without byte-order mark."""

    block: RecordBlock
    after: int


class CsvFile:
    """A CSV with a header.

    Parameters
    ----------
    open_stream : callable
        Returns a binary stream of the uncompressed table from its start.
    wanted, numeric, decimal
        See `churn.tables.csv_format.find_csv_format`.
    can_reopen : bool
        Whether `open_stream` can be called again; otherwise the table can be read only once.
    can_seek : bool
        Whether the stream supports ``seek``.
    block_bytes : int, optional
        Size of a block. Defaults to `BLOCK_BYTES`.

    Attributes
    ----------
    form : CsvFormat

    Raises
    ------
    TableError
        If the format can't be determined; the message does not name the file.
    """

    form: CsvFormat

    def __init__(
        self,
        open_stream: Callable[[], Any],
        wanted: Collection[str] = (),
        numeric: Collection[str] | None = None,
        decimal: str | None = None,
        *,
        can_reopen: bool = True,
        can_seek: bool = True,
        block_bytes: int | None = None,
    ) -> None:
        self._open = open_stream
        self._can_seek = can_seek
        self._block_bytes = BLOCK_BYTES if block_bytes is None else block_bytes
        stream = open_stream()
        try:
            text = TextStream(stream)
            head = text.read(HEAD_BYTES + SAMPLE_BYTES)
            is_whole = len(head) < HEAD_BYTES + SAMPLE_BYTES
            form = find_csv_format(head, is_whole=is_whole, wanted=wanted, numeric=numeric, decimal=decimal)
            if form is None:
                raise TableError(f"the header has more than {HEAD_BYTES} bytes")
        finally:
            if can_reopen:  # avoids keeping many files open
                stream.close()
        self.form = form
        # A stream that can't be opened again is read further.
        self._opened = None if can_reopen else (text, head)

    def blocks(self, offset: int = 0, *, counts_lines: bool = False) -> Iterator[PositionedBlock]:
        """Yield blocks of about `block_bytes` from an offset on; the blocks depend only on the offset.

        Parameters
        ----------
        offset : int
            Offset from a `PositionedBlock`; 0 is the first row.
        counts_lines : bool
            Whether blocks have line numbers; only possible from the first row on.
        """
        position = offset or self.form.start
        if self._opened is not None:
            text, head = self._opened
            yield from self._cut(text, head[position:], position, counts_lines=counts_lines)
            return
        with closing(self._open()) as stream:
            text = TextStream(stream)
            if self._can_seek and not text.is_recoded:
                text.seek(position)
            else:
                text.skip(position)
            yield from self._cut(text, b"", position, counts_lines=counts_lines and not offset)

    def _cut(self, text: TextStream, data: bytes, position: int, *, counts_lines: bool) -> Iterator[PositionedBlock]:
        """Yield the blocks of `data`, which starts at `position`, and of the rest of the stream."""
        delimiter = self.form.delimiter.encode()
        line = self.form.line if counts_lines else 0
        # Blocks have the same boundaries wherever reading starts, so that a resumed job has the same blocks.
        wanted = self._block_bytes
        is_last = False
        while not is_last:
            data += text.read(max(0, wanted - len(data)))  # the head may be longer than a block
            is_last = len(data) < wanted
            cut = cut_records(data[:wanted], delimiter, is_last=is_last)
            if not cut.end:
                wanted += self._block_bytes
                continue
            position += cut.end
            block = RecordBlock(data[: cut.end], cut.unclosed, line)
            line += count_lines(block.data) if line else 0
            data, wanted = data[cut.end :], self._block_bytes
            yield PositionedBlock(block, position)
