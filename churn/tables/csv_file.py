"""A CSV that is read from a file or a pipe, as blocks of whole records."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from churn.errors import TableError
from churn.tables.cells import Block
from churn.tables.encoding import TextStream
from churn.tables.form import HEAD_BYTES, SAMPLE_BYTES, find_form
from churn.tables.records import count_lines, cut_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from churn.tables.form import Form

BLOCK_BYTES = 4 << 20
"""Bytes that are parsed at once."""


class Step(NamedTuple):
    """A block, and where the next one begins: bytes of the table in UTF-8, without its byte-order mark."""

    block: Block
    after: int


class CsvFile:
    """A CSV with a header.

    Parameters
    ----------
    open_stream : callable
        Returns the table as a binary stream at its start, unpacked.
    wanted, numeric, decimal
        As for `churn.tables.form.find_form`.
    can_reopen : bool
        Whether `open_stream` may be called again; if not, the table is read once.
    can_seek : bool
        Whether the stream has ``seek``.

    Attributes
    ----------
    form : Form

    Raises
    ------
    TableError
        If it can't be told how the table is written; the message does not name the file.
    """

    form: Form

    def __init__(
        self,
        open_stream: Callable[[], Any],
        wanted: Collection[str] = (),
        numeric: Collection[str] | None = None,
        decimal: str | None = None,
        *,
        can_reopen: bool = True,
        can_seek: bool = True,
    ) -> None:
        self._open = open_stream
        self._can_seek = can_seek
        stream = open_stream()
        try:
            text = TextStream(stream)
            head = text.read(HEAD_BYTES + SAMPLE_BYTES)
            is_whole = len(head) < HEAD_BYTES + SAMPLE_BYTES
            form = find_form(head, is_whole=is_whole, wanted=wanted, numeric=numeric, decimal=decimal)
            if form is None:
                raise TableError(f"the header has more than {HEAD_BYTES} bytes")
        finally:
            if can_reopen:  # of many files, not all are held open
                stream.close()
        self.form = form
        # What can't be opened again is read on.
        self._opened = None if can_reopen else (text, head)

    def blocks(self, offset: int = 0, *, counts_lines: bool = False) -> Iterator[Step]:
        """Yield blocks of about `BLOCK_BYTES`, from where one begins on; the same offset always gives the same blocks.

        Parameters
        ----------
        offset : int
            What a `Step` said; 0 is the first row.
        counts_lines : bool
            Whether blocks know their lines; only from the first row on.
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

    def _cut(self, text: TextStream, data: bytes, position: int, *, counts_lines: bool) -> Iterator[Step]:
        """Yield the blocks of what was read, which begins at `position`, and what the stream gives next."""
        delimiter = self.form.delimiter.encode()
        line = self.form.line if counts_lines else 0
        # A piece is as long as it is wherever reading begins, so that a resumed job cuts where a whole one would.
        wanted = BLOCK_BYTES
        is_last = False
        while not is_last:
            data += text.read(wanted - len(data))
            is_last = len(data) < wanted
            cut = cut_records(data[:wanted], delimiter, is_last=is_last)
            if not cut.end:
                wanted += BLOCK_BYTES
                continue
            position += cut.end
            block = Block(data[: cut.end], cut.unclosed, line)
            line += count_lines(block.data) if line else 0
            data, wanted = data[cut.end :], BLOCK_BYTES
            yield Step(block, position)
