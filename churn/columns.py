"""Encode columns to the raw matrix and validate them against the schema.

Requests, files and tables are all converted to the raw matrix: float64, shape (customers, features). Numbers are
unchanged, flags are 0 or 1, categories are the position among the levels, dates are days since 1970-01-01, and missing
values are NaN.
"""

from __future__ import annotations

import struct
from itertools import starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import write_date
from churn.errors import InvalidCustomersError, Violation
from churn.feature import LARGEST, Feature, InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema

MAX_VIOLATIONS = 100
"""Maximum number of violations in an error."""


def make_stacker(features: int) -> Callable[[Iterable[Sequence[float]]], NDArray[np.float64]]:
    """Return a function that stacks validated rows to a read-only raw matrix, shape (n, features)."""
    pack = struct.Struct(f"{features}d").pack
    # struct.pack takes half the time of NumPy's constructors for Python floats.
    return lambda rows: np.frombuffer(b"".join(starmap(pack, rows))).reshape(-1, features)


def encode_columns(schema: Schema, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
    """Encode columns by name into the raw matrix.

    Parameters
    ----------
    schema : Schema
        Columns that are not in the schema are ignored.
    columns : mapping of str to sequence of length n
        NumPy arrays of numbers or booleans are validated vectorised, other sequences value by value. Dates may be
        ``datetime64``.

    Returns
    -------
    ndarray of float64, shape (n, len(schema.features))

    Raises
    ------
    InvalidCustomersError
        If values are invalid; contains the first `MAX_VIOLATIONS` in the order of the customers.
    ValueError
        If a column is missing or the lengths differ.
    """
    missing = [name for name in schema.names if name not in columns]
    if missing:
        raise ValueError(f"columns are missing: {', '.join(missing)}")
    lengths = {len(columns[name]) for name in schema.names}
    if len(lengths) != 1:
        raise ValueError(f"columns differ in length: {sorted(lengths)}")
    raw = np.empty((lengths.pop(), len(schema.features)), dtype=np.float64)
    violations: list[Violation] = []
    for position, feature in enumerate(schema.features):
        values = columns[feature.name]
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiub" and not feature.is_text:
            violations += encode_numbers(feature, values, raw[:, position])
        elif isinstance(values, np.ndarray) and values.dtype.kind == "M":
            violations += encode_values(feature, values.astype("datetime64[D]").tolist(), raw[:, position])
        else:
            violations += encode_values(feature, values, raw[:, position])
    if violations:
        violations.sort(key=lambda violation: violation.row)
        raise InvalidCustomersError(violations[:MAX_VIOLATIONS])
    return raw


def encode_numbers(feature: Feature, values: NDArray[Any], out: NDArray[np.float64]) -> list[Violation]:
    """Encode a column of numbers or booleans into `out`, vectorised; NaN is a missing value.

    Parameters
    ----------
    feature : Feature
    values : ndarray of numbers or bool, shape (n,)
    out : ndarray of float64, shape (n,)
        Is written to.

    Returns
    -------
    list of Violation
        The first `MAX_VIOLATIONS` of the column.
    """
    out[:] = values
    wrong = find_wrong_numbers(feature, out)
    if values.dtype.kind == "b" and feature.kind != "flag":
        wrong = np.ones(len(values), dtype=bool)
    rows = np.flatnonzero(wrong)[:MAX_VIOLATIONS]
    suspects = [None if np.isnan(value) else value for value in values[rows].tolist()]
    found = (_check(feature, row, value)[1] for row, value in zip(rows.tolist(), suspects, strict=True))
    return [violation for violation in found if violation is not None]


def find_wrong_numbers(feature: Feature, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask of the invalid raw values of a number, date or flag: the vectorised `Feature.encode`.

    Parameters
    ----------
    feature : Feature
    numbers : ndarray of float64, shape (n,)
        NaN is a missing value.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    absent = np.isnan(numbers)
    if feature.kind == "flag":
        fine = (numbers == 0) | (numbers == 1)
    else:
        low = -LARGEST if feature.minimum is None else max(feature.minimum, -LARGEST)
        high = LARGEST if feature.maximum is None else min(feature.maximum, LARGEST)
        fine = (numbers >= low) & (numbers <= high)
        if feature.kind == "integer":
            fine &= numbers == np.floor(numbers)
    wrong: NDArray[np.bool_] = ~(fine | absent) if feature.nullable else ~fine
    return wrong


def encode_values(feature: Feature, values: Sequence[Any] | NDArray[Any], out: NDArray[np.float64]) -> list[Violation]:
    """Encode a column into `out` value by value with `Feature.encode`.

    Parameters
    ----------
    feature : Feature
    values : sequence or ndarray, shape (n,)
        As in a request.
    out : ndarray of float64, shape (n,)
        Is written to.

    Returns
    -------
    list of Violation
        The first `MAX_VIOLATIONS` of the column.
    """
    if feature.kind == "category" and _encode_known(feature, values, out):
        return []
    violations: list[Violation] = []
    for row, value in enumerate(values):
        out[row], violation = _check(feature, row, value.item() if isinstance(value, np.generic) else value)
        if violation is not None:
            violations.append(violation)
            if len(violations) == MAX_VIOLATIONS:
                break
    return violations


def _encode_known(feature: Feature, values: Sequence[Any] | NDArray[Any], out: NDArray[np.float64]) -> bool:
    """Encode categories with a lookup table, eight times faster; return False if a value is not listed."""
    table: dict[object, float] = {text: float(position) for position, text in enumerate(feature.categories)}
    if feature.nullable:
        table[None] = np.nan
    try:
        numbers = list(map(table.get, values))
    except TypeError:  # an unhashable value, such as a list
        return False
    if None in numbers:
        return False
    out[:] = numbers
    return True


def _check(feature: Feature, row: int, value: object) -> tuple[float, Violation | None]:
    try:
        return feature.encode(value), None
    except InvalidValueError as error:
        return np.nan, Violation(row, feature.name, str(error), value, feature.allowed)


def find_unusual(schema: Schema, raw: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Find the values that are allowed but outside the range seen in training.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix.

    Returns
    -------
    list of (row, feature position)
        In the order of the rows.
    """
    low = np.array([-np.inf if f.trained_minimum is None else f.trained_minimum for f in schema.features])
    high = np.array([np.inf if f.trained_maximum is None else f.trained_maximum for f in schema.features])
    return [(int(row), int(position)) for row, position in np.argwhere((raw < low) | (raw > high))]


def as_customers(schema: Schema, raw: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Convert a raw matrix to customers in the form of a request.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    """
    return [
        {feature.name: _as_value(feature, number) for feature, number in zip(schema.features, row, strict=True)}
        for row in raw.tolist()
    ]


def _as_value(feature: Feature, number: float) -> Any:  # noqa: ANN401  a JSON value
    if np.isnan(number):
        return None
    if feature.kind == "date":
        return write_date(number)
    return feature.levels[int(number)] if feature.kind == "category" else _plain(number)


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number
