"""Detection of a second header line with descriptions of the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from churn.tables.encode import simplify

if TYPE_CHECKING:
    from collections.abc import Iterable

SECOND_HEADER = "it looks like a second header line: it holds text where the other lines hold numbers"
"""Reason for rejecting such a line."""

HEAD_ROWS = 1000
"""Number of rows examined."""

LEAST_COLUMNS = 2
"""Minimum number of numeric columns with text in the first row, which must also be at least half of them."""

_NUMBER = r"^[+-]?[0-9][0-9.,]*([eE][+-]?[0-9]+)?%?$"


def has_second_header(columns: Iterable[pa.Array]) -> bool:
    """Return whether the first row of a table is a second header line.

    Parameters
    ----------
    columns : iterable of pyarrow.Array
        All columns, from the first row on.
    """
    found = [_begins_with_text(column.slice(0, HEAD_ROWS)) for column in columns if _is_text(column.type)]
    texts, numbers = found.count(True), found.count(False)
    return texts >= max(LEAST_COLUMNS, numbers)


def _begins_with_text(column: pa.Array) -> bool | None:
    """Return whether a numeric column starts with text; None if the column is not numeric."""
    is_number = compute.match_substring_regex(simplify(column, as_text=True), _NUMBER)
    rest = is_number.slice(1)
    if rest.null_count == len(rest) or not compute.all(rest).as_py():
        return None
    first = is_number[0].as_py()
    return first is False


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
