r"""Where the records of a CSV begin and end, so that it can be read in pieces.

A record ends with ``\n``, ``\r\n`` or ``\r``, in any mixture. A quote opens a field only where the field begins, and a
doubled quote in such a field stands for one (RFC 4180); anywhere else a quote is a letter, as in ``5" pipe``. A line
end inside a quoted field ends no record. A quoted field that does not close within `LONGEST_QUOTED` bytes, or before
the table ends, would swallow the records below it: its line alone is no row, and reading goes on with the next line.
Blank lines are no records. Python's and Arrow's readers agree on all of this but the quote that does not close.
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
"""A quoted field that has not closed after so many bytes does not close."""

_CR, _LF, _QUOTE = b'\r\n"'
_CLOSING = re.compile(rb'(?:[^"]++|"")*+"')  # possessive, so that no text takes long
_LINE_END = re.compile(rb"\r\n?|\n")
_NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Quoted(NamedTuple):
    """The quoted fields of some bytes.

    Attributes
    ----------
    starts, ends : ndarray of int64, shape (n,)
        Where they open, and behind where they close.
    unclosed : tuple of (int, int)
        Lines, from and to, with a quote that opens and does not close.
    stop : int
        Where a field opens that may close yet; the length of the bytes if there is none.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    unclosed: tuple[tuple[int, int], ...]
    stop: int

    def encloses(self, position: int) -> bool:
        """Whether a position is inside a quoted field."""
        before = bisect_right(self.starts, position) - 1
        return before >= 0 and position < self.ends[before]


class Cut(NamedTuple):
    """Whole records at the start of some bytes.

    Attributes
    ----------
    end : int
        Where the last of them ends; 0 if none is whole.
    unclosed : tuple of (int, int)
        As in `Quoted`.
    """

    end: int
    unclosed: tuple[tuple[int, int], ...] = ()


def cut_records(data: bytes, delimiter: bytes, *, is_last: bool = False) -> Cut:
    """Find the whole records at the start of `data`, which begins with one.

    Parameters
    ----------
    data : bytes
    delimiter : bytes
        One byte.
    is_last : bool
        Whether the table ends with `data`: its last record then needs no line end.
    """
    quoted = find_quoted(data, delimiter, is_last=is_last)
    if is_last:
        return Cut(len(data), quoted.unclosed)
    end = quoted.stop
    while (position := _find_last_line_end(data, end)) and quoted.encloses(position - 1):
        end = int(quoted.starts[bisect_right(quoted.starts, position - 1) - 1])
    return Cut(position, tuple(line for line in quoted.unclosed if line[1] <= position))


def _find_last_line_end(data: bytes, stop: int) -> int:
    """Return behind which line end before `stop` no other comes; 0 if there is none."""
    end = data.rfind(b"\n", 0, stop) + 1
    # As the last byte, a carriage return may be half a line end.
    return max(end, data.rfind(b"\r", end, min(stop, len(data) - 1)) + 1)


def find_quoted(data: bytes, delimiter: bytes, *, is_last: bool = False) -> Quoted:
    """Find the quoted fields of `data`, which begins with a record; `is_last` if the table ends with it."""
    if b'"' not in data:
        return Quoted(_NONE, _NONE, (), len(data))
    # Nearly always the quotes open and close by turns, each where it may, which takes a tenth of the time to see.
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
    """Go from quote to quote: slower, and right for whatever comes."""
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
    """Return `data` without some lines, each given by where it begins and ends."""
    if not lines:
        return data
    starts, ends = [0, *(end for _, end in lines)], [*(start for start, _ in lines), len(data)]
    return b"".join(data[start:end] for start, end in zip(starts, ends, strict=True))


def find_first_end(data: bytes, delimiter: bytes, *, is_last: bool = False) -> int:
    """Return the length of the first record, its line end included; 0 if it is not whole."""
    quoted = find_quoted(data, delimiter, is_last=is_last)
    for end in _LINE_END.finditer(data, 0, quoted.stop):
        if not quoted.encloses(end.start()):
            return end.end() if is_last or end.end() < len(data) or end[0] != b"\r" else 0
    return len(data) if is_last else 0


def find_begins(data: bytes, quoted: Quoted) -> NDArray[np.int64]:
    """Return where each record of `data` begins."""
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
    """Return the line on which each record of `data` begins; `first` is that of its first byte."""
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
    """Return how many lines end in `data`."""
    feeds = data.count(b"\n")
    return feeds + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else feeds
