"""Rows of a table as returned by a reader, with a position for every row, and their encoding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from churn import identifiers
from churn.errors import Violation
from churn.names import ALLOWED_IDENTIFIER
from churn.tables.encode import Encoded, encode_batch
from churn.tables.encoding import NOT_UTF8, advise_conversion

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of a table.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        The complete rows, by column.
    total : int
        Number of all rows, including incomplete ones.
    broken : sequence of Violation
        Errors of rows that are not in `batch`, and of kept cells; ``row`` counts all rows from 0. The field is empty if
        the error concerns the whole line.
    places : ndarray of int64, shape (len(batch),), or None
        Position of each row of `batch` among all rows, counted from 0; None if all rows are complete.
    decimals : mapping of str to {".", ",", "?"}
        Decimal separators of the columns; see `churn.tables.csv_format.CsvFormat`.
    reread : callable or None
        Returns the batch with the original text of the given columns; None if `batch` has it already.
    find_lines : callable or None
        Returns the line number of each row, counted from 1, if there are lines.
    first : int
        Number of the first row in its table, counted from 1.
    """

    batch: pa.RecordBatch
    total: int
    broken: Sequence[Violation] = ()
    places: NDArray[np.int64] | None = None
    decimals: Mapping[str, Decimal] = field(default_factory=dict)
    reread: Callable[[Collection[str]], pa.RecordBatch | None] | None = None
    find_lines: Callable[[], Sequence[int]] | None = None
    first: int = 1

    @property
    def known_places(self) -> NDArray[np.int64]:
        """Position of each row of `batch` among all rows, counted from 0, as int64."""
        return np.arange(self.total) if self.places is None else self.places

    def number(self) -> NDArray[np.int64]:
        """Return the position of each row in its table for messages: its line, or its number if there are no lines.

        Returns
        -------
        ndarray of int64, shape (total,)
        """
        if self.find_lines is None:
            return np.arange(self.first, self.first + self.total)
        return np.asarray(self.find_lines(), dtype=np.int64)

    def without_broken(self) -> Rows:
        """Return the same rows with only those in `batch` that have no error of the reader."""
        if not self.broken:
            return self
        good = ~np.isin(self.known_places, [one.row for one in self.broken])
        return replace(self, batch=self.batch.filter(pa.array(good)), places=self.known_places[good])


def encode_rows(schema: Schema, rows: Rows) -> Encoded:
    """Encode rows, including the errors of the reader and identifiers that name nobody.

    Returns
    -------
    Encoded
        For all rows; incomplete rows are invalid.
    """
    encoded = encode_batch(schema, rows.batch, rows.decimals)
    if encoded.violations and rows.reread:
        # Messages have the original text: 900 may be "900.00" in the table.
        written = rows.reread({one.field for one in encoded.violations if one.sent is not None})
        encoded = encode_batch(schema, written, rows.decimals) if written else encoded
    places = rows.known_places
    broken = [*map(_advise, rows.broken), *_find_broken_identifiers(schema.identifier, rows.batch, places)]
    if not broken:
        return encoded
    raw, wrong = np.zeros((rows.total, encoded.raw.shape[1]), order="F"), np.ones(rows.total, dtype=bool)
    raw[places], wrong[places] = encoded.raw, encoded.wrong
    wrong[[one.row for one in broken]] = True
    moved = [replace(one, row=int(places[one.row])) for one in encoded.violations]
    explained = {(one.row, one.field) for one in broken}  # such as a cell that is not UTF-8, and so not a number
    moved = [one for one in moved if (one.row, one.field) not in explained]
    return Encoded(raw, wrong, sorted([*moved, *broken], key=lambda one: one.row))


def _advise(violation: Violation) -> Violation:
    """Add what to do with a table in another encoding."""
    return replace(violation, allowed=f"UTF-8. {advise_conversion()}") if violation.reason == NOT_UTF8 else violation


def _find_broken_identifiers(name: str, batch: pa.RecordBatch, places: NDArray[np.int64]) -> list[Violation]:
    """Find rows with an identifier that is a number, but no integer or too large."""
    if name not in batch.schema.names:
        return []
    column = batch.column(name)
    return [
        Violation(int(places[row]), name, "is not an identifier", column[row].as_py(), ALLOWED_IDENTIFIER)
        for row in identifiers.find_broken(column)
    ]
