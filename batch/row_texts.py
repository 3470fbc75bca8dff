"""Values and rows of tables as text, the same in whatever pages a driver of a database or Arrow gives them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import pyarrow as pa
from pyarrow import compute

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = frozenset({str, int, float, Decimal, date, UUID})
"""Types whose text is that of Python's `str`, which writes the shortest digits that give a float again."""

_CAST = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_large_string, pa.types.is_null)
"""Kinds of columns whose text Arrow writes as `write_values` does, only faster."""

_QUOTED = r'[",\r\n]|^$'
"""Texts that are in quotes in a line of CSV; the empty one, because nothing is null."""


def write_column(column: pa.Array) -> pa.StringArray:
    """Return the values of a column of Arrow as text; see `write_values`.

    Parameters
    ----------
    column : pyarrow.Array
        Of any type.

    Returns
    -------
    pyarrow.StringArray
        With the column's nulls.
    """
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return write_column(column.dictionary_decode())
    if any(is_kind(kind) for is_kind in _CAST):
        return column.cast(pa.string())
    # Arrow's own text of floats, times and decimals may differ in its next version, and that of Python won't.
    return write_values(column.to_pylist())


def write_values(values: Sequence[object]) -> pa.StringArray:
    r"""Return values as text.

    Texts stay as they are, so the number 1 and the text ``1`` are written alike, and the number 1.0 as ``1.0``.
    Booleans are ``true`` and ``false``, bytes ``\x`` and hexadecimal digits, times with a time zone those of UTC, and
    lists and structures JSON. Each value is written alone: what others its page has makes no difference.

    Parameters
    ----------
    values : sequence of object
        As a driver or Arrow returns them; None is null.

    Returns
    -------
    pyarrow.StringArray
        With nulls, which are not empty texts.
    """
    texts = [one if one is None else str(one) if type(one) in _PLAIN else _write(one) for one in values]
    return pa.array(texts, pa.string())


def write_lines(texts: Sequence[pa.StringArray]) -> list[bytes]:
    """Return rows as lines of CSV, like those of PostgreSQL's ``COPY``.

    Parameters
    ----------
    texts : sequence of pyarrow.StringArray
        The columns.

    Returns
    -------
    list of bytes
        Each ended by a line feed; no two different rows have the same.
    """
    cells = []
    for column in texts:
        is_quoted = compute.match_substring_regex(column, _QUOTED)
        if compute.any(is_quoted).as_py():
            doubled = compute.replace_substring(column, '"', '""')
            column = compute.if_else(is_quoted, compute.binary_join_element_wise('"', doubled, '"', ""), column)
        cells.append(compute.fill_null(column, ""))
    rows = compute.binary_join_element_wise(*cells, ",")
    lines: list[bytes] = compute.binary_join_element_wise(rows, "\n", "").cast(pa.binary()).to_pylist()
    return lines


def _write(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + value.hex()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return str(value.astimezone(UTC))
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_write)
    return str(value)
