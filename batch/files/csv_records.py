"""Where the records of a CSV file end, so that it can be cut into pieces that are parsed apart.

A line end inside quotes ends no record. A quote opens a field only where the field begins, and a doubled quote stands
for one (RFC 4180); anywhere else it is a letter, as in ``5" pipe``. Quotes that never close, as dirty files have them,
would swallow all that follows: such a line is told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUOTE = b'"'

LONGEST_QUOTED = 1 << 20
"""A quoted field that has not closed after so many bytes does not close."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Whole records at the start of some bytes.

    Attributes
    ----------
    end : int
        Where the last of them ends; 0 if not one is whole.
    unclosed : tuple of (int, int)
        Lines, from and to, with a quote that opens and does not close.
    """

    end: int
    unclosed: tuple[tuple[int, int], ...] = ()


def cut_records(data: bytes, delimiter: bytes, newline: bytes = b"\n", *, is_last: bool = False) -> Cut:
    r"""Find the whole records at the start of `data`, which begins with one.

    Parameters
    ----------
    data : bytes
    delimiter : bytes
        One byte.
    newline : bytes
        What ends a record: ``\n``, or ``\r`` alone as old Macs wrote it.
    is_last : bool
        Whether the file ends with `data`: its last record then needs no line end.
    """
    if QUOTE not in data:
        return Cut(len(data) if is_last else data.rfind(newline) + 1)
    quotes = find_quotes(data, delimiter, newline)
    if quotes is None or (len(quotes) % 2 and (is_last or len(data) - quotes[-1] > LONGEST_QUOTED)):
        return _scan(data, delimiter, newline, is_last=is_last)
    if is_last:
        return Cut(len(data))
    # Backwards over the stretches between quotes: every second one is outside.
    end = len(data)
    for index in range(len(quotes), -1, -1):
        start = int(quotes[index - 1]) + 1 if index else 0
        if index % 2 == 0 and (found := data.rfind(newline, start, end)) >= 0:
            return Cut(found + 1)
        end = start
    return Cut(0)


def find_quotes(data: bytes, delimiter: bytes, newline: bytes) -> NDArray[np.int64] | None:
    """Return the positions of quotes if they open and close by turns, each where it may, else None."""
    octets = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(octets == QUOTE[0])
    opening, closing = quotes[0::2], quotes[1::2]
    edges = np.frombuffer(delimiter + newline + QUOTE + b"\r", np.uint8)
    before = octets[np.maximum(opening - 1, 0)]
    after = octets[np.minimum(closing + 1, len(octets) - 1)]
    fine = np.isin(before, edges[:3]).all() and np.isin(after, edges).all()
    is_short = not len(closing) or int((closing - opening[: len(closing)]).max()) <= LONGEST_QUOTED
    return quotes if fine and is_short else None


def count_records(data: bytes, newline: bytes = b"\n") -> int:
    """Count the records in whole ones, written as RFC 4180 says."""
    if QUOTE not in data:
        return data.count(newline)
    octets = np.frombuffer(data, np.uint8)
    quotes, ends = np.flatnonzero(octets == QUOTE[0]), np.flatnonzero(octets == newline[0])
    return int(np.count_nonzero(np.searchsorted(quotes, ends) % 2 == 0))


def _scan(data: bytes, delimiter: bytes, newline: bytes, *, is_last: bool) -> Cut:
    """Go from quote to quote: slower, and right for whatever comes."""
    unclosed: list[tuple[int, int]] = []
    position = record = 0
    while (quote := data.find(QUOTE, position)) >= 0:
        record = max(record, data.rfind(newline, position, quote) + 1)
        if quote > record and data[quote - 1 : quote] != delimiter:
            position = quote + 1
            continue
        close = _find_closing(data, quote)
        if close >= 0:
            position = close + 1
            continue
        if not is_last and len(data) - quote <= LONGEST_QUOTED:
            return Cut(record, tuple(unclosed))
        end = data.find(newline, quote) + 1
        if not end and not is_last:
            return Cut(record, tuple(unclosed))
        position = end or len(data)
        unclosed.append((record, position))
        record = position
    end = len(data) if is_last else max(record, data.rfind(newline, position) + 1)
    return Cut(end, tuple(unclosed))


def _find_closing(data: bytes, quote: int) -> int:
    """Return where the quote at `quote` closes, or -1."""
    limit = quote + LONGEST_QUOTED
    close = data.find(QUOTE, quote + 1, limit)
    while close >= 0 and data[close + 1 : close + 2] == QUOTE:
        close = data.find(QUOTE, close + 2, limit)
    return close
