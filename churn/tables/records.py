r"""Find the boundaries of CSV records, so that a table can be read in blocks.

A record ends with ``\n``, ``\r\n`` or ``\r``, in any mixture. A quote opens a field only at its beginning, and a
doubled quote in such a field is a literal quote (RFC 4180); elsewhere quotes are ordinary characters, as in
``5" pipe``. Line breaks inside quoted fields don't end a record. A quoted field that is not closed within
`LONGEST_QUOTED` bytes or before the end of the table would swallow the following records: only its line is rejected,
and reading continues with the next line. Blank lines are ignored. Python's and pyarrow's readers agree except for
unclosed quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LONGEST_QUOTED = 1 << 20
"""Maximum length of a quoted field in bytes; longer fields are considered unclosed."""

_CR, _LF, _QUOTE = b'\r\n"'
_CLOSING = re.compile(rb'(?:[^"]++|"")*+"')  # possessive, so that the time is linear
_LINE_END = re.compile(rb"\r\n?|\n")
_NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Quoted(NamedTuple):
    """Quoted fields in a piece of a table.

    Attributes
    ----------
    starts, ends : ndarray of int64, shape (n,)
        Offsets of the opening quotes, and offsets after the closing quotes.
    unclosed : tuple of (int, int)
        Ranges of the lines with an unclosed quote.
    stop : int
        Offset of a quoted field that may be closed later; the length of the piece if there is none.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    unclosed: tuple[tuple[int, int], ...]
    stop: int

    def encloses(self, position: int) -> bool:
        """Return whether a position is inside a quoted field."""
        before = bisect_right(self.starts, position) - 1
        return before >= 0 and position < self.ends[before]


class Cut(NamedTuple):
    """Complete records at the beginning of a piece of a table.

    Attributes
    ----------
    end : int
        End of the last complete record; 0 if there is none.
    unclosed : tuple of (int, int)
        See `Quoted`.
    """

    end: int
    unclosed: tuple[tuple[int, int], ...] = ()


def cut_records(data: bytes, delimiter: bytes, *, is_last: bool = False) -> Cut:
    """Find the complete records at the beginning of `data`, which starts with a record.

    Parameters
    ----------
    data : bytes
    delimiter : bytes
        A single byte.
    is_last : bool
        Whether `data` is the end of the table, so that the last record needs no line break.
    """
    quoted = find_quoted(data, delimiter, is_last=is_last)
    if is_last:
        return Cut(len(data), quoted.unclosed)
    end = quoted.stop
    while (position := _find_last_line_end(data, end)) and quoted.encloses(position - 1):
        end = int(quoted.starts[bisect_right(quoted.starts, position - 1) - 1])
    return Cut(position, tuple(line for line in quoted.unclosed if line[1] <= position))


def _find_last_line_end(data: bytes, stop: int) -> int:
    """Return the offset after the last line break before `stop`; 0 if there is none."""
    end = data.rfind(b"\n", 0, stop) + 1
    # A carriage return as last byte may be half of a line break.
    return max(end, data.rfind(b"\r", end, min(stop, len(data) - 1)) + 1)


def find_quoted(data: bytes, delimiter: bytes, *, is_last: bool = False) -> Quoted:
    """Find the quoted fields of `data`, which starts with a record; `is_last` if it is the end of the table."""
    if b'"' not in data:
        return Quoted(_NONE, _NONE, (), len(data))
    # Fast path: quotes nearly always alternate between valid opening and closing positions.
    octets = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(octets == _QUOTE)
    starts, ends = quotes[0::2], quotes[1::2]
    is_edge = np.zeros(256, dtype=bool)
    is_edge[[delimiter[0], _LF, _CR, _QUOTE]] = True
    before, after = octets[np.maximum(starts - 1, 0)], octets[np.minimum(ends + 1, len(octets) - 1)]
    lengths = ends - starts[: len(ends)]
    if not is_edge[before].all() or not is_edge[after].all() or (len(ends) and lengths.max() > LONGEST_QUOTED):
        return _scan(data, delimiter, is_last=is_last)
    if len(starts) == len(ends):
        return Quoted(starts, ends + 1, (), len(data))
    if is_last or len(data) - starts[-1] > LONGEST_QUOTED:
        return _scan(data, delimiter, is_last=is_last)
    return Quoted(starts[:-1], ends + 1, (), int(starts[-1]))


def _scan(data: bytes, delimiter: bytes, *, is_last: bool) -> Quoted:
    """Scan quote by quote: slower, but correct for any input."""
    spans: list[tuple[int, int]] = []
    unclosed: list[tuple[int, int]] = []
    stop = len(data)
    position = record = 0
    edges = (delimiter[0], _LF, _CR)
    while (quote := data.find(b'"', position)) >= 0:
        record = max(record, data.rfind(b"\n", position, quote) + 1, data.rfind(b"\r", position, quote) + 1)
        if quote > record and data[quote - 1] not in edges:
            position = quote + 1
            continue
        if closing := _CLOSING.match(data, quote + 1, quote + LONGEST_QUOTED):
            spans.append((quote, closing.end()))
            position = closing.end()
            continue
        end = _LINE_END.search(data, quote)
        if not is_last and (end is None or len(data) - quote <= LONGEST_QUOTED):
            stop = quote
            break
        position = end.end() if end else len(data)
        unclosed.append((record, position))
        record = position
    both = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return Quoted(both[:, 0], both[:, 1], tuple(unclosed), stop)


def drop_lines(data: bytes, lines: Sequence[tuple[int, int]]) -> bytes:
    """Return `data` without the given ranges."""
    if not lines:
        return data
    starts, ends = [0, *(end for _, end in lines)], [*(start for start, _ in lines), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def find_first_end(data: bytes, delimiter: bytes, *, is_last: bool = False) -> int:
    """Return the length of the first record including its line break; 0 if it is incomplete."""
    quoted = find_quoted(data, delimiter, is_last=is_last)
    for end in _LINE_END.finditer(data, 0, quoted.stop):
        if not quoted.encloses(end.start()):
            return end.end() if is_last or end.end() < len(data) or end[0] != b"\r" else 0
    return len(data) if is_last else 0


def find_begins(data: bytes, quoted: Quoted) -> NDArray[np.int64]:
    """Return the offset of each record of `data`.

    Returns
    -------
    ndarray of int64, shape (records,)
        In bytes, ascending. Empty lines are no records.
    """
    newlines = _find_newlines(data)
    before = np.searchsorted(quoted.starts, newlines, side="right") - 1
    if len(quoted.starts):
        newlines = newlines[(before < 0) | (newlines >= quoted.ends[before])]
    octets = np.frombuffer(data, np.uint8)
    begins = np.append(0, newlines + 1)
    begins = begins[begins < len(octets)]
    found: NDArray[np.int64] = begins[(octets[begins] != _LF) & (octets[begins] != _CR)]
    return found


def find_lines(data: bytes, delimiter: bytes, first: int) -> list[int]:
    """Return the line number of each record of `data`; `first` is the line number of its first byte."""
    begins = find_begins(data, find_quoted(data, delimiter, is_last=True))
    lines: list[int] = (first + np.searchsorted(_find_newlines(data), begins)).tolist()
    return lines


def _find_newlines(data: bytes) -> NDArray[np.int64]:
    octets = np.frombuffer(data, np.uint8)
    feeds = octets == _LF
    if b"\r" in data:
        feeds[:-1] |= (octets[:-1] == _CR) & (octets[1:] != _LF)
        feeds[-1] |= octets[-1] == _CR
    return np.flatnonzero(feeds)


def count_lines(data: bytes) -> int:
    """Return the number of line breaks in `data`."""
    feeds = data.count(b"\n")
    return feeds + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else feeds
