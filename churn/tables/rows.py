"""Some rows of a table, as their reader hands them on, and what encoding them gives: one position for every row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from churn.tables.encode import Encoded, encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.numerals import Decimal
    from churn.schema import Schema


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows that follow one another in a table.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        The rows that have all fields, by column.
    total : int
        All rows, with those that have not.
    broken : sequence of Violation
        What is wrong with rows that are not in `batch`, and with cells that are only handed on; ``row`` counts all
        rows from 0. The field is empty where the line as a whole is meant.
    places : ndarray of int64, shape (len(batch),), or None
        Position of each row of `batch` among all, counted from 0; None if they are all.
    decimals : mapping of str to {".", ",", "?"}
        How columns write numbers, as in `churn.tables.form.Form`.
    reread : callable or None
        Takes names of columns and returns the batch with their cells as they are written; None if they are so already.
    find_lines : callable or None
        Returns the line each of all rows begins on, counted from 1, where there are lines.
    """

    batch: pa.RecordBatch
    total: int
    broken: Sequence[Violation] = ()
    places: NDArray[np.int64] | None = None
    decimals: Mapping[str, Decimal] = field(default_factory=dict)
    reread: Callable[[Collection[str]], pa.RecordBatch | None] | None = None
    find_lines: Callable[[], Sequence[int]] | None = None


def encode_rows(schema: Schema, rows: Rows) -> Encoded:
    """Encode rows, together with what their reader found wrong.

    Returns
    -------
    Encoded
        Of all rows; those that their reader could not take apart are wrong.
    """
    encoded = encode_batch(schema, rows.batch, rows.decimals)
    if encoded.violations and rows.reread:
        # Told as it is written, not as it was read: 900 is "900.00" in the table.
        written = rows.reread({one.field for one in encoded.violations if one.sent is not None})
        encoded = encode_batch(schema, written, rows.decimals) if written else encoded
    if not rows.broken:
        return encoded
    places = np.arange(rows.total) if rows.places is None else rows.places
    raw, wrong = np.zeros((rows.total, encoded.raw.shape[1]), order="F"), np.ones(rows.total, dtype=bool)
    raw[places], wrong[places] = encoded.raw, encoded.wrong
    wrong[[one.row for one in rows.broken]] = True
    moved = [replace(one, row=int(places[one.row])) for one in encoded.violations]
    return Encoded(raw, wrong, sorted([*moved, *rows.broken], key=lambda one: one.row))
