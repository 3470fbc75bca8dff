"""Identifiers of customers in Arrow columns: strings, integers of any type, UUIDs.

Requires pyarrow, which is not loaded for serving single customers.
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
    """Return whether a type is a UUID: Arrow's extension type, or 16 bytes as in many Parquet files."""
    if isinstance(kind, pa.ExtensionType | pa.BaseExtensionType):
        return bool(kind.extension_name == "arrow.uuid")
    return bool(types.is_fixed_size_binary(kind) and kind.byte_width == UUID_BYTES)


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a type is binary, which may be text without a type annotation."""
    return any(test(kind) for test in _BINARY)


def choose_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of an identifier column in the output.

    Integers stored as floats, as pandas does if values are missing, become integers; UUIDs become strings; other types
    are unchanged.
    """
    if types.is_dictionary(kind):
        return choose_type(kind.value_type)
    if types.is_floating(kind):
        return pa.int64()
    return pa.string() if is_uuid(kind) else kind


def is_possible(kind: pa.DataType) -> bool:
    """Return whether a column of this type can be an identifier; lists, structs and other binary types can't."""
    if types.is_dictionary(kind):
        return is_possible(kind.value_type)
    return is_uuid(kind) or any(test(kind) for test in (*_PLAIN, types.is_floating, types.is_decimal))


def as_text(column: pa.Array, name: str = "the identifier") -> pa.Array:
    """Return an identifier column as strings; integers have no decimal point or exponent, whatever their type.

    Parameters
    ----------
    column : pyarrow.Array
    name : str
        Name of the column, for messages.

    Returns
    -------
    pyarrow.StringArray
        Null for missing identifiers, including NaN.

    Raises
    ------
    TableError
        If the column has bytes that are not text, lists or structs.
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
        raise TableError(f"{name} has the type {kind}, which can't be an identifier; allowed: {ALLOWED}")
    return column.cast(pa.string())


def as_answered(column: pa.Array) -> pa.Array:
    """Return an identifier column with the type of `choose_type`; null in the rows of `find_broken`."""
    kind = choose_type(column.type)
    if types.is_dictionary(column.type):
        column = _decode(column)
    if types.is_floating(column.type):
        known = ~np.asarray(compute.is_nan(column).fill_null(True))
        known[find_broken(column)] = False
        return compute.if_else(pa.array(known), column, pa.scalar(None, column.type)).cast(kind)
    if is_uuid(column.type):
        return as_text(column)
    return column.cast(kind) if column.type != kind else column


def find_broken(column: pa.Array) -> list[int]:
    """Return the rows with a float identifier that is not a 64-bit integer."""
    if types.is_dictionary(column.type):
        column = _decode(column)
    if not types.is_floating(column.type):
        return []
    numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    whole = (numbers == np.floor(numbers)) & (numbers >= -(2.0**63)) & (numbers < 2.0**63)
    return np.flatnonzero(~whole & ~np.isnan(numbers)).tolist()


def _decode(column: pa.DictionaryArray) -> pa.Array:
    """Return the cells of a dictionary."""
    if types.is_string_view(column.type.value_type):  # pyarrow can't take from views
        return column.dictionary.cast(pa.string()).take(column.indices)
    return column.dictionary_decode()


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
    """Decode binary text, as in Parquet files without a string annotation."""
    try:
        text = column.cast(pa.binary()).cast(pa.string())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        text = None
    if text is None or compute.any(compute.match_substring_regex(text, r"[\x00-\x1f\x7f]")).as_py():
        raise TableError(f"{name} has bytes that are not text ({column.type}); allowed: {ALLOWED}")
    return text
