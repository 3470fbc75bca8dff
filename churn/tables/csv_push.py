"""Split a CSV that arrives in pieces into blocks of complete records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import TableError
from churn.tables.cells import RecordBlock
from churn.tables.csv_format import SAMPLE_BYTES, find_csv_format
from churn.tables.encoding import LONGEST_MARK, find_encoding, make_recoder
from churn.tables.records import count_lines, cut_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from churn.tables.csv_format import CsvFormat


class RecordTooLongError(TableError):
    """A record that exceeds the maximum length."""


class CsvPush:
    """Incremental reader of a CSV with a header.

    Parameters
    ----------
    max_record : int
        Maximum length of a record in bytes.
    wanted, numeric, decimal
        See `churn.tables.csv_format.find_csv_format`.

    Attributes
    ----------
    form : CsvFormat or None
        Set before the first block.
    """

    def __init__(
        self,
        max_record: int,
        wanted: Collection[str] = (),
        numeric: Collection[str] | None = None,
        decimal: str | None = None,
    ) -> None:
        self.form: CsvFormat | None = None
        self._max_record = max_record
        self._look = (wanted, numeric, decimal)
        self._recode: Callable[[bytes, bool], bytes] | None = None
        self._rest = b""
        self._line = 1
        self._needed = SAMPLE_BYTES

    @property
    def buffered(self) -> int:
        """Number of buffered bytes."""
        return len(self._rest)

    def feed(self, data: bytes, *, last: bool) -> Iterator[RecordBlock]:
        """Process more bytes and yield blocks of complete records.

        Raises
        ------
        TableError
            If the format can't be determined.
        RecordTooLongError
        """
        if self._recode is None:
            data, self._rest = self._rest + data, b""
            if len(data) < LONGEST_MARK and not last:
                self._rest = data
                return
            encoding, mark = find_encoding(data[:LONGEST_MARK])
            self._recode, data = make_recoder(encoding), data[mark:]
        self._rest += self._recode(data, last)
        if self.form is None and not self._find_form(is_whole=last):
            return
        yield from self._cut(last=last)

    def _find_form(self, *, is_whole: bool) -> bool:
        if not is_whole and len(self._rest) < self._needed:
            return False
        self._needed = len(self._rest) * 5 // 4  # avoids scanning after each small piece
        wanted, numeric, decimal = self._look
        self.form = find_csv_format(self._rest, is_whole=is_whole, wanted=wanted, numeric=numeric, decimal=decimal)
        if self.form is not None:
            self._rest, self._line = self._rest[self.form.start :], self.form.line
        return self.form is not None

    def _cut(self, *, last: bool) -> Iterator[RecordBlock]:
        assert self.form is not None  # noqa: S101
        cut = cut_records(self._rest, self.form.delimiter.encode(), is_last=last)
        block, self._rest = RecordBlock(self._rest[: cut.end], cut.unclosed, self._line), self._rest[cut.end :]
        self._line += count_lines(block.data)
        if len(self._rest) > self._max_record:
            raise RecordTooLongError(f"the record on line {self._line} has more than {self._max_record} bytes")
        if block.data:
            yield block
