"""A hash of the rows of a table that is the same in whatever order, pages, partitions or processes they are read.

Each row is hashed alone, and the hash of a table is the sum of the hashes of its rows: the AdHash of Bellare and
Micciancio (1997, *A New Paradigm for Collision-Free Hashing: Incrementality at Reduced Cost*), used for multisets as by
Clarke et al. (2003, *Incremental Multiset Hash Functions and Their Application to Memory Integrity Checking*). A sum
counts how often a row occurs, which an exclusive or does not.

In detail, so that another program can compute it:

1. The columns are sorted by name, and values written as text (`batch.row_texts`).
2. A row is a line of CSV as PostgreSQL's ``COPY … (FORMAT csv)`` writes it: values separated by ``,``, ended by a line
   feed, in UTF-8. Null is nothing. The empty text is ``""``, and texts with a comma, a quote, a line feed or a carriage
   return are in quotes, their quotes doubled.
3. Its hash is the first 256 bytes of SHAKE256 (FIPS 202), as a little-endian number.
4. The sum of these, modulo 2**2048, is written as 512 hexadecimal digits.
5. The hash of the table is the SHA-256 of the compact JSON of ``["rows-1", columns, number of rows, sum]``, written as
   ``rows-1:`` and hexadecimal digits.

What it protects against
------------------------
Any accident: a changed value, a lost, added or repeated row. And somebody who looks for another table with the same
hash: sums are open to the generalised birthday attack (Wagner, 2002, *A Generalized Birthday Problem*), which with
SHA-256 and a sum modulo 2**256 takes some 2**31 steps for somebody who may choose the last decimals of 2**16 rows. That
is why the sum has 2048 bits, at a price of 1 µs per row: the attack then takes about 2**90 steps, with any number of
rows. What 2048 bits do not exclude is a table in which many rows occur dozens of times each, found by lattice
reduction; so look for repeated customers where somebody may have had a reason to forge. Where that is not enough,
export the table when the job is done and keep the SHA-256 of the file.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from batch.row_texts import write_column, write_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

SCHEME = "rows-1"
"""Name of this way of hashing, which is part of every hash."""

_BYTES = 256
_MODULUS = 2 ** (8 * _BYTES)

_BLOCK_ROWS = 4096
"""Rows whose hashes, of 1 MB, are in memory at once."""


class RowHash:
    """The hash of a multiset of rows, which grows as rows are added.

    Parameters
    ----------
    columns : iterable of str
        Their names, in any order.

    Attributes
    ----------
    columns : tuple of str
        Sorted.
    rows : int
        Number of rows added.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self.columns = tuple(sorted(columns))
        self.rows = 0
        self._sum = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows.

        Parameters
        ----------
        batch : pyarrow.RecordBatch
            Has the columns, in any order, of any types; further columns are not hashed.

        Raises
        ------
        KeyError
            If it lacks a column.
        """
        texts = [write_column(batch.column(name)) for name in self.columns]
        for start in range(0, len(batch), _BLOCK_ROWS):
            self.add_lines(write_lines([column.slice(start, _BLOCK_ROWS) for column in texts]))

    def add_lines(self, lines: Sequence[bytes]) -> None:
        """Add rows that are lines of CSV already, with the columns sorted, each ended by a line feed."""
        for start in range(0, len(lines), _BLOCK_ROWS):
            self._sum += _sum_up(lines[start : start + _BLOCK_ROWS])
        self._sum %= _MODULUS
        self.rows += len(lines)

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add the rows of another hash of the same columns, from its `to_state`."""
        self._sum = (self._sum + int(state["sum"], 16)) % _MODULUS
        self.rows += state["rows"]

    def to_state(self) -> dict[str, Any]:
        """Return number of rows and sum as plain data for `merge`."""
        return {"rows": self.rows, "sum": f"{self._sum:0{2 * _BYTES}x}"}

    def describe(self) -> dict[str, Any]:
        """Return columns, number of rows and hash as they are recorded; serialisable as JSON."""
        content = [SCHEME, self.columns, self.rows, self.to_state()["sum"]]
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"columns": list(self.columns), "rows": self.rows, "hash": f"{SCHEME}:{digest}"}


def _sum_up(lines: Sequence[bytes]) -> int:
    """Return the sum of the hashes of lines, few enough for its 64-bit digits not to overflow."""
    hashes = b"".join([hashlib.shake_256(line).digest(_BYTES) for line in lines])
    digits = np.frombuffer(hashes, dtype="<u4").reshape(len(lines), -1).sum(axis=0, dtype=np.uint64)
    return sum(int(digit) << 32 * place for place, digit in enumerate(digits))
