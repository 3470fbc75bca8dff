"""What names a customer, as columns of Arrow hold it: text, whole numbers in any type, UUIDs.

Needs pyarrow, which serving customers one by one does not.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from pyarrow import compute, types

from churn.errors import TableError

ALLOWED = "texts, whole numbers or UUIDs"

UUID_BYTES = 16

_PLAIN = (types.is_null, types.is_boolean, types.is_integer, types.is_temporal,
          types.is_string, types.is_large_string, types.is_string_view)  # fmt: skip
_BINARY = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)


def is_uuid(kind: pa.DataType) -> bool:
    """Whether a column holds UUIDs: as Arrow's extension type, or as 16 bytes each, as many Parquet files do."""
    if isinstance(kind, pa.ExtensionType | pa.BaseExtensionType):
        return bool(kind.extension_name == "arrow.uuid")
    return bool(types.is_fixed_size_binary(kind) and kind.byte_width == UUID_BYTES)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, which may be text that is not marked as such."""
    return any(test(kind) for test in _BINARY)


def choose_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column of identifiers goes back to where it came from.

    Whole numbers that came as floats, as pandas holds them where some are missing, go back as whole numbers; UUIDs
    as text; everything else as it came.
    """
    if types.is_dictionary(kind):
        return choose_type(kind.value_type)
    if types.is_floating(kind):
        return pa.int64()
    return pa.string() if is_uuid(kind) else kind


def is_possible(kind: pa.DataType) -> bool:
    """Whether a column of this type may name customers: not one of lists, structures or bytes of no known meaning."""
    if types.is_dictionary(kind):
        return is_possible(kind.value_type)
    return is_uuid(kind) or any(test(kind) for test in (*_PLAIN, types.is_floating, types.is_decimal))


def as_text(column: pa.Array, name: str = "the identifier") -> pa.Array:
    """Return a column of identifiers as text: a whole number without a point or an exponent, whatever its type.

    Parameters
    ----------
    column : pyarrow.Array
    name : str
        The column's, for messages.

    Returns
    -------
    pyarrow.StringArray
        Null where there is no identifier; NaN is none.

    Raises
    ------
    TableError
        If it holds bytes that are no text, lists or structures.
    """
    kind = column.type
    if types.is_dictionary(kind):
        words = as_text(column.dictionary, name)
        return words.take(column.indices)
    if types.is_floating(kind):
        return _write_floats(column)
    if types.is_decimal(kind):
        return pa.array([None if cell is None else _write_decimal(cell) for cell in column.to_pylist()], pa.string())
    if is_uuid(kind):
        stored = column.storage if isinstance(column, pa.ExtensionArray) else column
        return pa.array([None if cell is None else str(UUID(bytes=cell)) for cell in stored.to_pylist()], pa.string())
    if is_bytes(kind):
        return _read_bytes(column, name)
    if not is_possible(kind):
        raise TableError(f"{name} has the type {kind}, which can't name a customer; allowed: {ALLOWED}")
    return column.cast(pa.string())


def as_answered(column: pa.Array) -> pa.Array:
    """Return a column of identifiers in the type of `choose_type`; null where `find_broken` finds a row."""
    kind = choose_type(column.type)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_floating(column.type):
        known = ~np.asarray(compute.is_nan(column).fill_null(True))
        known[find_broken(column)] = False
        return compute.if_else(pa.array(known), column, pa.scalar(None, column.type)).cast(kind)
    if is_uuid(column.type):
        return as_text(column)
    return column.cast(kind) if column.type != kind else column


def find_broken(column: pa.Array) -> list[int]:
    """Return the rows whose identifier, a float, is no whole number of 64 bits."""
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not types.is_floating(column.type):
        return []
    numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    whole = (numbers == np.floor(numbers)) & (numbers >= -(2.0**63)) & (numbers < 2.0**63)
    return np.flatnonzero(~whole & ~np.isnan(numbers)).tolist()


def _write_floats(column: pa.Array) -> pa.Array:
    if not find_broken(column):
        return as_answered(column).cast(pa.string())
    return pa.array([_write_float(cell) for cell in column.to_pylist()], pa.string())


def _write_float(cell: float | None) -> str | None:
    if cell is None or cell != cell:
        return None
    cell = float(cell)
    return str(int(cell)) if cell.is_integer() else repr(cell)


def _write_decimal(cell: Any) -> str:  # noqa: ANN401  a Decimal
    return str(int(cell)) if cell == cell.to_integral_value() else f"{cell:f}"


def _read_bytes(column: pa.Array, name: str) -> pa.Array:
    """Read bytes that are text, as programs write them that do not mark a Parquet column as text."""
    try:
        text = column.cast(pa.binary()).cast(pa.string())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        text = None
    if text is None or compute.any(compute.match_substring_regex(text, r"[\x00-\x1f\x7f]")).as_py():
        raise TableError(f"{name} holds bytes that are no text ({column.type}); allowed: {ALLOWED}")
    return text
