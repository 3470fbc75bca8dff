"""Detect the format of a CSV: delimiter, header, lines above it, and decimal separators of its columns."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from churn.errors import TableError
from churn.feature import MISSING_WORDS
from churn.names import normalize_names
from churn.numerals import MARKS, find_decimal, is_number
from churn.tables.encoding import NotUtf8Error
from churn.tables.records import count_lines, cut_records, drop_lines, find_first_end

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from churn.numerals import Decimal

SEPARATORS: Mapping[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
"""Supported delimiters and their names."""

HEAD_BYTES = 1 << 20
"""Maximum number of bytes up to the end of the header."""

SAMPLE_BYTES = 1 << 16
"""Number of bytes of rows for detecting decimal separators."""

NUMERIC_SHARE = 0.9
"""A column is numeric if this share of its cells are numbers."""

MAX_COMMENTS = 200
"""Maximum number of lines that start with # above the header."""

_SHORT = 1 << 12
"""Number of bytes that contain nearly every header."""

_SEP = re.compile(rb'"?sep=([^\r\n"\x80-\xff])"?(\r\n|\r|\n)', re.IGNORECASE)
_BLANK = re.compile(rb"[ \t]*(\r\n|\r|\n)")


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """Format of a CSV.

    Attributes
    ----------
    names : tuple of str
        Names of the columns without surrounding white space.
    delimiter : str
    start : int
        Offset of the first row in bytes of the table in UTF-8 without byte-order mark.
    line : int
        Line number of the first row, counted from 1.
    header_line : int
        Line number of the header.
    decimals : mapping of str to {".", ",", "?"}
        Decimal separators of the columns. Defaults to a point.
    """

    names: tuple[str, ...]
    delimiter: str
    start: int
    line: int
    header_line: int
    decimals: Mapping[str, Decimal]

    @property
    def described(self) -> str:
        """Columns, delimiter and other delimiters tried, for messages about missing columns."""
        names = ", ".join(self.names[:30]) + (f", … ({len(self.names)} in all)" if len(self.names) > 30 else "")
        separator = SEPARATORS.get(self.delimiter, repr(self.delimiter))
        tried = ", ".join(SEPARATORS.values())
        return f"{names} (line {self.header_line}, read with the separator {separator}; tried: {tried})"


def find_csv_format(
    head: bytes,
    *,
    is_whole: bool,
    wanted: Collection[str] = (),
    numeric: Collection[str] | None = None,
    decimal: str | None = None,
) -> CsvFormat | None:
    """Detect the format of a CSV from its first bytes.

    Blank lines, ``sep=;`` as written by Excel, and lines that start with ``#`` are allowed above the header.

    Parameters
    ----------
    head : bytes
        UTF-8 without byte-order mark.
    is_whole : bool
        Whether `head` is the complete table.
    wanted : collection of str
        Expected columns. The delimiter that yields most of them is used, otherwise the one that yields most fields.
    numeric : collection of str, optional
        Columns of numbers and flags. Detected from their cells by default.
    decimal : {".", ","}, optional
        Decimal separator of all columns. Detected from their cells by default.

    Returns
    -------
    CsvFormat or None
        None if more bytes are needed.

    Raises
    ------
    TableError
        If there is no header or it is invalid.
    """
    start, told = _skip_to_header(head)
    form = _find_header(head, start, [told] if told else list(SEPARATORS), wanted, is_whole=is_whole)
    if form is None and is_whole:
        raise TableError("it is empty, without a header")
    if form is None and len(head) > HEAD_BYTES:
        raise TableError(f"line {1 + count_lines(head[:start])}: the header has more than {HEAD_BYTES} bytes")
    if form is None or (not is_whole and len(head) < form.start + SAMPLE_BYTES):
        return None
    if not any(form.names):
        raise TableError(f"line {form.header_line} should be the header, but has only empty fields")
    return replace(form, decimals=_find_decimals(form, head[form.start :], numeric, decimal, is_whole=is_whole))


def check_decimal(decimal: str | None) -> None:
    """Raise an error if `decimal` is not a supported decimal separator.

    Raises
    ------
    TableError
    """
    if decimal is not None and decimal not in MARKS:
        raise TableError(f"decimal is {decimal!r}; allowed: {' or '.join(MARKS)}")


def _skip_to_header(head: bytes, start: int = 0) -> tuple[int, str | None]:
    """Return the offset of the first line with content, and the delimiter from a ``sep=`` line."""
    told = None
    while True:
        if told is None and (match := _SEP.match(head, start)):
            told = match[1].decode("latin-1")
        elif not (match := _BLANK.match(head, start)):
            return start, told
        start = match.end()


def _find_header(
    head: bytes, start: int, delimiters: Sequence[str], wanted: Collection[str], *, is_whole: bool, comments: int = 0
) -> CsvFormat | None:
    """Parse the header with the best delimiter, below comment lines; None if it is incomplete."""
    if start == len(head):
        return None
    if comments > MAX_COMMENTS:
        raise TableError(f"more than {MAX_COMMENTS} lines above the header start with #")
    forms = [_read_header(head, start, mark, is_whole=is_whole) for mark in delimiters]
    if None in forms:
        return None
    form = max((form for form in forms if form), key=lambda form: _rank(form, head, wanted, is_whole=is_whole))
    if len(form.names) == 1 and b'"' in head[start : form.start]:
        _refuse_open_quote(head[start : form.start], delimiters, form.header_line)
    if not form.names[0].startswith("#") or {*wanted} & {*form.names}:
        return form
    # A comment, unless it has as many fields as the next line: then it is a header that starts with #.
    below = _find_header(
        head, _skip_to_header(head, form.start)[0], delimiters, wanted, is_whole=is_whole, comments=comments + 1
    )
    if below is None:
        return form if is_whole else None
    own = next(own for own in forms if own and own.delimiter == below.delimiter)
    return own if len(own.names) == len(below.names) > 1 else below


def _rank(form: CsvFormat, head: bytes, wanted: Collection[str], *, is_whole: bool) -> tuple[int, bool, bool, int]:
    """Return the sort key of a delimiter, with the most important criterion first."""
    has_quotes = any('"' in name for name in form.names)  # a sign of fields split inside quotes
    start = _skip_to_header(head, form.start)[0]
    row = _split(head, start, form.delimiter, is_whole=is_whole)[:SAMPLE_BYTES].decode("utf-8", "replace")
    is_like_row = len(_read_cells(row, form.delimiter)) == len(form.names) > 1
    return len({*wanted} & {*form.names}), not has_quotes, is_like_row, len(form.names)


def _read_header(head: bytes, start: int, delimiter: str, *, is_whole: bool) -> CsvFormat | None:
    """Parse a header with one delimiter; None if it is incomplete."""
    header = _split(head, start, delimiter, is_whole=is_whole)
    if not header:
        return None
    line = 1 + count_lines(head[:start])
    try:
        cells = _read_cells(header.decode(), delimiter)
    except UnicodeDecodeError as error:
        raise NotUtf8Error(f"line {line}: the header is not UTF-8: byte {start + error.start}") from None
    except csv.Error as error:
        raise TableError(f"line {line}: the header can't be read: {error}") from None
    return CsvFormat(
        tuple(normalize_names(cells)), delimiter, start + len(header), line + count_lines(header), line, {}
    )


def _split(head: bytes, start: int, delimiter: str, *, is_whole: bool) -> bytes:
    """Return the record that starts at `start`; empty if it is incomplete."""
    mark = delimiter.encode()
    length = find_first_end(head[start : start + _SHORT], mark) or find_first_end(head[start:], mark, is_last=is_whole)
    return head[start : start + length]


def _read_cells(record: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter), [])


def _refuse_open_quote(header: bytes, delimiters: Sequence[str], line: int) -> None:
    if any(cut_records(header, mark.encode(), is_last=True).unclosed for mark in delimiters):
        raise TableError(f"line {line}: the header has a quote that does not close")


def _find_decimals(
    form: CsvFormat, rows: bytes, numeric: Collection[str] | None, decimal: str | None, *, is_whole: bool
) -> dict[str, Decimal]:
    """Return the columns with another decimal separator than a point.

    A column without evidence gets the separator of the other columns, if they agree. Without any evidence, tables with
    commas as delimiters have decimal points, and others are ambiguous.
    """
    check_decimal(decimal)
    if decimal is not None:
        return {} if decimal == "." else dict.fromkeys(form.names if numeric is None else numeric, ",")
    is_last = is_whole and len(rows) <= SAMPLE_BYTES
    cut = cut_records(rows[:SAMPLE_BYTES], form.delimiter.encode(), is_last=is_last)
    sample = drop_lines(rows[: cut.end], cut.unclosed)
    if form.delimiter == "," and b'"' not in sample:
        return {}
    text = io.StringIO(sample.decode("utf-8", "replace"), newline="")
    records = [row for row in csv.reader(text, delimiter=form.delimiter) if len(row) == len(form.names)]
    marks: dict[str, Decimal | None] = {}
    for place, name in enumerate(form.names):
        cells = [cell for cell in (row[place].strip() for row in records) if cell not in MISSING_WORDS]
        share = sum(map(is_number, cells)) / len(cells) if numeric is None and cells else 0.0
        if share >= NUMERIC_SHARE if numeric is None else name in numeric:
            marks[name] = find_decimal(cells)
    told = {mark for mark in marks.values() if mark not in (None, "?")}
    rest: Decimal | None = told.pop() if len(told) == 1 else "." if form.delimiter == "," else "?"
    found = {name: rest if mark is None else mark for name, mark in marks.items()}
    return {name: mark for name, mark in found.items() if mark is not None and mark != "."}
