"""Where the records of a CSV text end and begin, by the rules of RFC 4180: a line end in quotes is part of a field.

Quotes mean something only at a field's start, as for Arrow's and Python's own readers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CR, _LF, _QUOTE = b'\r\n"'
_NONE = np.empty(0, dtype=np.int64)
_LINE_END = re.compile(rb"\r\n?|\n")


@cache
def _quoted_fields(delimiter: bytes) -> re.Pattern[bytes]:
    # The last may be open. Possessive (++), so that no text takes long.
    return re.compile(rb'"(?:(?<=\A")|(?<=[\r\n%b]"))[^"]*+(?:""[^"]*+)*+(?:"|\Z)' % re.escape(delimiter))


def _find_quoted(data: bytes, delimiter: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return starts and ends of the quoted fields; `data` begins with a record."""
    if b'"' not in data:
        return _NONE, _NONE
    # Nearly always every second quote opens a field and the next closes it, which takes a tenth of the time to see.
    text = np.frombuffer(b"\n%b\n" % data, dtype=np.uint8)
    quotes = np.flatnonzero(text == _QUOTE)
    starts, ends = quotes[::2], quotes[1::2]
    is_bound = np.zeros(256, dtype=bool)
    is_bound[[_CR, _LF, delimiter[0]]] = True
    if is_bound[text[starts - 1]].all() and is_bound[text[ends + 1]].all():
        return starts - 1, np.append(ends, len(data)) if len(starts) > len(ends) else ends
    spans = [match.span() for match in _quoted_fields(delimiter).finditer(data)]
    both = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def find_end(data: bytes, delimiter: bytes) -> int:
    """Return the length of the whole records at the front of `data`, their line ends included."""
    starts, ends = _find_quoted(data, delimiter)
    # A carriage return may be all there is of a line's end; as the last byte, its line feed may not be there yet.
    for newline, stop in ((b"\n", len(data)), (b"\r", len(data) - 1)):
        position = data.rfind(newline, 0, stop)
        while position >= 0:
            before = bisect_right(starts, position) - 1
            if before < 0 or position >= ends[before]:
                return position + 1
            position = data.rfind(newline, 0, int(starts[before]))
    return 0


def find_first_end(data: bytes, delimiter: bytes) -> int:
    """Return the length of the first record, its line end included; 0 if it is not whole."""
    starts, ends = _find_quoted(data, delimiter)
    for newline in _LINE_END.finditer(data):
        before = bisect_right(starts, newline.start()) - 1
        if before < 0 or newline.start() >= ends[before]:
            return newline.end() if newline.end() < len(data) or newline[0] != b"\r" else 0
    return 0


def is_open(data: bytes, delimiter: bytes) -> bool:
    """Whether the last field of `data`, which begins with a record, is in quotes that are not closed."""
    starts, _ = _find_quoted(data, delimiter)
    if not len(starts):
        return False
    last = int(starts[-1])
    match = _quoted_fields(delimiter).fullmatch(data, last)
    return match is not None and data.count(b'"', last) % 2 == 1


def find_lines(data: bytes, delimiter: bytes, first: int) -> list[int]:
    """Return the line on which each record begins; `first` is that of the first byte. Blank lines are no records."""
    text = np.frombuffer(data, dtype=np.uint8)
    following = np.append(text[1:], 0)
    newlines = np.flatnonzero((text == _LF) | ((text == _CR) & (following != _LF)))
    starts, ends = _find_quoted(data, delimiter)
    outer = newlines
    if len(starts):
        before = np.searchsorted(starts, newlines, side="right") - 1
        outer = newlines[(before < 0) | (newlines >= ends[before])]
    begins = np.append(0, outer + 1)
    begins = begins[begins < len(text)]
    begins = begins[(text[begins] != _LF) & (text[begins] != _CR)]
    lines: list[int] = (first + np.searchsorted(newlines, begins)).tolist()
    return lines


def count_lines(data: bytes) -> int:
    """Return how many lines end in `data`."""
    feeds = data.count(b"\n")
    return feeds + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else feeds
