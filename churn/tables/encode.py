"""Encode Arrow columns to the raw matrix and find the values that can't be scored.

Columns may have numbers, booleans, strings, or dates and times, which are treated as ISO strings; or dictionaries of
them. Strings are parsed as by `Feature.parse`, of which this is the vectorised implementation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, types

from churn import identifiers
from churn.columns import MAX_VIOLATIONS, find_wrong_numbers
from churn.errors import InvalidCustomersError, TableError, Violation
from churn.feature import LARGEST, MISSING_WORDS, Feature, InvalidValueError
from churn.numerals import COMMA_NUMBER, THOUSANDS, find_hint, read_number
from churn.tables.shared_texts import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema

READABLE = "numbers, booleans, texts, dates and times, or dictionaries of them"
"""Description of the supported types."""

_MISSING = pa.array(sorted(MISSING_WORDS), pa.string())

_READABLE = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_string,
             types.is_large_string, types.is_string_view, types.is_date, types.is_time, types.is_timestamp)  # fmt: skip


def is_readable(kind: pa.DataType) -> bool:
    """Return whether a column type is supported; see `READABLE`."""
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(is_one(kind) for is_one in _READABLE)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Encoded customers and their invalid values.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`; invalid rows have arbitrary values.
    wrong : ndarray of bool, shape (n,)
        Rows that can't be scored.
    violations : list of Violation
        All values that can't be scored, in the order of the rows.
    """

    raw: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    violations: list[Violation]

    @property
    def accepted(self) -> NDArray[np.float64]:
        """The raw matrix of the rows that can be scored, shape (accepted rows, features)."""
        return self.raw[~self.wrong] if self.violations else self.raw

    def check(self) -> NDArray[np.float64]:
        """Return the raw matrix if all rows are valid.

        Returns
        -------
        ndarray of float64, shape (n, features)

        Raises
        ------
        InvalidCustomersError
            If a row can't be scored; contains the first violations.
        """
        if self.violations:
            raise InvalidCustomersError(self.violations[:MAX_VIOLATIONS])
        return self.raw


def encode_batch(schema: Schema, batch: pa.RecordBatch, decimals: Mapping[str, Decimal] | None = None) -> Encoded:
    """Encode the columns of a batch by name; columns that are not in the schema are ignored.

    Parameters
    ----------
    schema : Schema
    batch : pyarrow.RecordBatch
    decimals : mapping of str to {".", ",", "?"}, optional
        Decimal separators of string columns. Defaults to a point.
    """
    # Column-major, since all later steps process columns.
    raw = np.empty((len(batch), len(schema.features)), dtype=np.float64, order="F")
    wrong = np.zeros(len(batch), dtype=bool)
    violations: list[Violation] = []
    for position, feature in enumerate(schema.features):
        column = compact(batch.column(feature.name))
        decimal = (decimals or {}).get(feature.name, ".")
        numbers = _read_column(feature, column, decimal)
        raw[:, position] = numbers
        if _is_plainly_right(feature, numbers):
            continue
        bad = _find_wrong(feature, numbers, _find_missing(feature, column))
        if bad.any():
            wrong |= bad
            violations += _explain_cells(feature, column, np.flatnonzero(bad).tolist(), decimal)
    violations.sort(key=lambda violation: violation.row)
    return Encoded(raw, wrong, violations)


def _is_plainly_right(feature: Feature, numbers: NDArray[np.float64]) -> bool:
    """Return whether all values are valid and present; much faster than finding invalid values."""
    if not len(numbers):
        return True
    if feature.is_text:
        return not np.isnan(numbers).any()
    if not feature.is_numeric:
        return bool(((numbers == 0) | (numbers == 1)).all())
    low = -LARGEST if feature.minimum is None else max(feature.minimum, -LARGEST)
    high = LARGEST if feature.maximum is None else min(feature.maximum, LARGEST)
    # Negated, so that NaN fails.
    if not (numbers.min() >= low and numbers.max() <= high):
        return False
    return feature.kind == "number" or bool((numbers == np.floor(numbers)).all())


def _find_wrong(feature: Feature, numbers: NDArray[np.float64], is_missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    unread = np.isnan(numbers) & ~is_missing
    wrong = is_missing & (not feature.nullable) | unread
    if not feature.is_text:
        wrong |= find_wrong_numbers(feature, numbers)
    return wrong


def _read_column(feature: Feature, column: pa.Array, decimal: Decimal) -> NDArray[np.float64]:
    """Return the values of a column as numbers; NaN for missing or invalid cells."""
    if types.is_dictionary(column.type):  # each distinct value is parsed once
        numbers = _read_column(feature, column.dictionary, decimal)
        return np.append(numbers, np.nan)[_find_codes(column)]
    simple = simplify(column, as_text=feature.is_text)
    if feature.is_numeric or (feature.kind == "flag" and not types.is_string(simple.type)):
        return read_numbers(simple, decimal)
    # Few distinct values, so each is parsed once.
    encoded = simple.cast(pa.string()).dictionary_encode()
    words = [_read_cell(feature, word, decimal) for word in encoded.dictionary.to_pylist()]
    return np.array([*words, np.nan])[_find_codes(encoded)]


def _find_missing(feature: Feature, column: pa.Array) -> NDArray[np.bool_]:
    """Return a mask of the missing cells of a column."""
    if types.is_dictionary(column.type):
        return np.append(_find_missing(feature, column.dictionary), [True])[_find_codes(column)]
    simple = simplify(column, as_text=feature.is_text)
    mask: NDArray[np.bool_] = simple.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask


def _find_codes(column: pa.Array) -> NDArray[np.int64]:
    """Return the dictionary index of each cell; missing cells have an index after the last one."""
    codes = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(codes, dtype=np.int64)


def simplify(column: pa.Array, *, as_text: bool) -> pa.Array:
    """Convert a column to numbers, or to stripped strings with null for missing values.

    Parameters
    ----------
    column : pyarrow.Array or ChunkedArray
        Cells of types that are not `is_readable` are converted with `str`.
    as_text : bool
        Whether numbers are converted to strings as well.
    """
    kind = column.type
    if types.is_dictionary(kind):
        return simplify(column.cast(kind.value_type), as_text=as_text)
    if types.is_decimal(kind):  # a number whatever its scale: 2.50 is the category 2.5, as it is in a column of floats
        # A direct cast may be off by one unit in the last place.
        return simplify(column.cast(pa.string()).cast(pa.float64()), as_text=as_text)
    if not as_text and (types.is_integer(kind) or types.is_floating(kind)):
        return column.cast(pa.float64(), safe=False)  # integers above 2^53 may lose digits
    try:
        text = compute.utf8_trim_whitespace(identifiers.as_text(column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TableError):  # bytes, lists or structs
        text = pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    if types.is_temporal(kind):
        # As usual in text: without a fraction of a second if it is zero.
        text = compute.replace_substring_regex(text, r"\.0+($|Z|[+-])", r"\1")
    return compute.if_else(compute.is_in(text, value_set=_MISSING), pa.scalar(None, pa.string()), text)


def read_numbers(column: pa.Array, decimal: Decimal = ".") -> NDArray[np.float64]:
    """Parse a simplified column as numbers like `churn.numerals.read_number`; NaN for cells that are not numbers.

    Parameters
    ----------
    column : pa.Array, n cells
        Strings or numbers.
    decimal : str
        Decimal separator.

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    if types.is_string(column.type):
        if decimal == ",":
            fits = compute.match_substring_regex(column, COMMA_NUMBER)
            column = compute.if_else(fits, column, pa.scalar(None, pa.string()))
            column = compute.replace_substring(compute.replace_substring(column, ".", ""), ",", ".")
        elif decimal == "?":
            doubtful = compute.match_substring_regex(column, THOUSANDS)
            column = compute.if_else(doubtful, pa.scalar(None, pa.string()), column)
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowInvalid:  # a cell is not a number: each distinct one is parsed separately
        encoded = column.dictionary_encode()
        words = [_read_number(word, decimal) for word in encoded.dictionary.to_pylist()]
        return np.array([*words, np.nan])[_find_codes(encoded)]
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _read_number(word: str, decimal: Decimal) -> float:
    try:
        return read_number(word, "." if decimal == "," else decimal)
    except ValueError:
        return np.nan


def _read_cell(feature: Feature, word: str, decimal: Decimal) -> float:
    try:
        return feature.parse(word, decimal)
    except InvalidValueError:
        return np.nan


def _explain_cells(feature: Feature, column: pa.Array, rows: list[int], decimal: Decimal) -> list[Violation]:
    """Return the violations for invalid cells; those with the same entry of a dictionary are explained once."""
    if not types.is_dictionary(column.type):
        plain = simplify(column, as_text=feature.is_text)
        return [_explain(feature, row, plain[row].as_py(), decimal) for row in rows]
    plain = simplify(column.dictionary, as_text=feature.is_text)
    codes = _find_codes(column)[rows].tolist()
    known = {
        code: _explain(feature, 0, plain[code].as_py() if code < len(plain) else None, decimal) for code in set(codes)
    }
    return [replace(known[code], row=row) for code, row in zip(codes, rows, strict=True)]


def _explain(feature: Feature, row: int, cell: object, decimal: Decimal) -> Violation:
    """Return the violation for an invalid cell, according to `Feature.parse`."""
    value = None if cell is None or (isinstance(cell, float) and np.isnan(cell)) else cell
    try:
        if isinstance(value, str):
            feature.parse(value, decimal)
        else:
            feature.encode(value)
    except InvalidValueError as error:
        hint = find_hint(value, decimal) if isinstance(value, str) and not feature.is_text else ""
        return Violation(row, feature.name, str(error), cell, feature.allowed + hint)
    return Violation(row, feature.name, "is not allowed", cell, feature.allowed)  # pragma: no cover  the rules agree
