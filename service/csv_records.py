"""Where the records of a CSV text end and begin, by the rules of RFC 4180: a line end in quotes is part of a field.

Quotes mean something only at a field's start, as for Arrow's and Python's own readers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache

import numpy as np

_CR, _LF = b"\r\n"
_LINE_END = re.compile(rb"\r\n?|\n")


@cache
def _quoted_fields(delimiter: bytes) -> re.Pattern[bytes]:
    # The last may be open. Possessive (++), so that no text takes long.
    return re.compile(rb'(?:\A|(?<=[\r\n%b]))"[^"]*+(?:""[^"]*+)*+(?:"|\Z)' % re.escape(delimiter))


def _find_quoted(data: bytes, delimiter: bytes) -> tuple[list[int], list[int]]:
    """Return starts and ends of the quoted fields; `data` begins with a record."""
    if b'"' not in data:
        return [], []
    spans = [match.span() for match in _quoted_fields(delimiter).finditer(data)]
    return [start for start, _ in spans], [end for _, end in spans]


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
            position = data.rfind(newline, 0, starts[before])
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
    if not starts:
        return False
    quotes = data.count(b'"', starts[-1])
    match = _quoted_fields(delimiter).fullmatch(data, starts[-1])
    return match is not None and quotes % 2 == 1


def find_lines(data: bytes, delimiter: bytes, first: int) -> list[int]:
    """Return the line on which each record begins; `first` is that of the first byte. Blank lines are no records."""
    text = np.frombuffer(data, dtype=np.uint8)
    following = np.append(text[1:], 0)
    newlines = np.flatnonzero((text == _LF) | ((text == _CR) & (following != _LF)))
    starts, ends = _find_quoted(data, delimiter)
    outer = newlines
    if starts:
        before = np.searchsorted(starts, newlines, side="right") - 1
        outer = newlines[(before < 0) | (newlines >= np.array(ends)[before])]
    begins = np.append(0, outer + 1)
    begins = begins[begins < len(text)]
    begins = begins[(text[begins] != _LF) & (text[begins] != _CR)]
    lines: list[int] = (first + np.searchsorted(newlines, begins)).tolist()
    return lines


def count_lines(data: bytes) -> int:
    """Return how many lines end in `data`."""
    feeds = data.count(b"\n")
    return feeds + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else feeds
