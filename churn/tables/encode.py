"""Arrow columns to the raw matrix, with everything in them that can't be scored.

A column may hold numbers, booleans, texts, or dates and times, which stand for their ISO texts; or a dictionary of
them. A text is read as `Feature.parse` reads it: this is its vectorised twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, types

from churn import identifiers
from churn.columns import MAX_VIOLATIONS, find_wrong_numbers
from churn.errors import InvalidCustomersError, TableError, Violation
from churn.numerals import COMMA_NUMBER, THOUSANDS, find_hint, read_number
from churn.schema import LARGEST, MISSING_WORDS, Feature, InvalidValueError, Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.numerals import Decimal

READABLE = "numbers, booleans, texts, dates and times, or dictionaries of them"
"""What a column may hold, in words."""

_MISSING = pa.array(sorted(MISSING_WORDS), pa.string())

_READABLE = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_string,
             types.is_large_string, types.is_string_view, types.is_date, types.is_time, types.is_timestamp)  # fmt: skip


def is_readable(kind: pa.DataType) -> bool:
    """Whether a column of that type can be read: see `READABLE`."""
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(is_one(kind) for is_one in _READABLE)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Customers as numbers, and what of them can't be scored.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`; what stands in a wrong row means nothing.
    wrong : ndarray of bool, shape (n,)
        The rows that can't be scored.
    violations : list of Violation
        Every value that can't be scored, in the order of the rows.
    """

    raw: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    violations: list[Violation]

    def check(self) -> NDArray[np.float64]:
        """Return the raw matrix.

        Raises
        ------
        InvalidCustomersError
            If a row can't be scored: with the first violations.
        """
        if self.violations:
            raise InvalidCustomersError(self.violations[:MAX_VIOLATIONS])
        return self.raw


def encode_batch(schema: Schema, batch: pa.RecordBatch, decimals: Mapping[str, Decimal] | None = None) -> Encoded:
    """Encode a batch's columns by name; columns the schema does not know are ignored.

    Parameters
    ----------
    schema : Schema
    batch : pyarrow.RecordBatch
    decimals : mapping of str to {".", ",", "?"}, optional
        How columns of text write numbers; those that are not named have a decimal point.
    """
    # Column by column, as it is written here, transformed and counted.
    raw = np.empty((len(batch), len(schema.features)), dtype=np.float64, order="F")
    wrong = np.zeros(len(batch), dtype=bool)
    violations: list[Violation] = []
    for position, feature in enumerate(schema.features):
        column = batch.column(feature.name)
        decimal = (decimals or {}).get(feature.name, ".")
        numbers = _read_column(feature, column, decimal)
        raw[:, position] = numbers
        if _is_plainly_right(feature, numbers):
            continue
        bad = _find_wrong(feature, numbers, _find_missing(feature, column))
        if bad.any():
            wrong |= bad
            plain = simplify(column, as_text=feature.is_text)
            violations += [_explain(feature, row, plain[row].as_py(), decimal) for row in np.flatnonzero(bad).tolist()]
    violations.sort(key=lambda violation: violation.row)
    return Encoded(raw, wrong, violations)


def _is_plainly_right(feature: Feature, numbers: NDArray[np.float64]) -> bool:
    """Say whether nothing is missing and nothing wrong, as nearly always, at a fraction of the cost of finding it."""
    if not len(numbers):
        return True
    if feature.is_text:
        return not np.isnan(numbers).any()
    if not feature.is_numeric:
        return bool(((numbers == 0) | (numbers == 1)).all())
    low = -LARGEST if feature.minimum is None else max(feature.minimum, -LARGEST)
    high = LARGEST if feature.maximum is None else min(feature.maximum, LARGEST)
    # Written so that a NaN fails.
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
    """Return a column's numbers, NaN where a cell is missing or can't be read."""
    if types.is_dictionary(column.type):  # each different value is read once
        numbers = _read_column(feature, column.dictionary, decimal)
        return np.append(numbers, np.nan)[_find_codes(column)]
    simple = simplify(column, as_text=feature.is_text)
    if feature.is_numeric or (feature.kind == "flag" and not types.is_string(simple.type)):
        return read_numbers(simple, decimal)
    # Few different values, so each is read once.
    encoded = simple.cast(pa.string()).dictionary_encode()
    words = [_read_cell(feature, word, decimal) for word in encoded.dictionary.to_pylist()]
    return np.array([*words, np.nan])[_find_codes(encoded)]


def _find_missing(feature: Feature, column: pa.Array) -> NDArray[np.bool_]:
    """Return which cells of a column are missing."""
    if types.is_dictionary(column.type):
        return np.append(_find_missing(feature, column.dictionary), [True])[_find_codes(column)]
    simple = simplify(column, as_text=feature.is_text)
    mask: NDArray[np.bool_] = simple.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    return mask


def _find_codes(column: pa.Array) -> NDArray[np.int64]:
    """Return each cell's place in the column's dictionary; behind its end where there is none."""
    codes = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(codes, dtype=np.int64)


def simplify(column: pa.Array, *, as_text: bool) -> pa.Array:
    """Bring a column to one of the types a text table can mean: numbers, or stripped text with its gaps taken out.

    Parameters
    ----------
    column : pyarrow.Array or ChunkedArray
        Of a type that `is_readable`; of another one its cells become what Python prints.
    as_text : bool
        Whether numbers become text, too.
    """
    kind = column.type
    if types.is_dictionary(kind):
        return simplify(column.cast(kind.value_type), as_text=as_text)
    if not as_text and types.is_decimal(kind):
        return column.cast(pa.string()).cast(pa.float64())  # at once, Arrow may miss the nearest number by a bit
    if not as_text and (types.is_integer(kind) or types.is_floating(kind)):
        return column.cast(pa.float64(), safe=False)  # of integers beyond 2^53 the last digits may go
    try:
        text = compute.utf8_trim_whitespace(identifiers.as_text(column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TableError):  # bytes, or a list or structure
        text = pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
    if types.is_temporal(kind):
        # As programs write them: no fraction of a second where there is none.
        text = compute.replace_substring_regex(text, r"\.0+($|Z|[+-])", r"\1")
    return compute.if_else(compute.is_in(text, value_set=_MISSING), pa.scalar(None, pa.string()), text)


def read_numbers(column: pa.Array, decimal: Decimal = ".") -> NDArray[np.float64]:
    """Read a simplified column as numbers, as `churn.numerals.read_number` does; NaN where a cell is none."""
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
    except pa.ArrowInvalid:  # some cell is no number: each different one is read by itself
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


def _explain(feature: Feature, row: int, cell: object, decimal: Decimal) -> Violation:
    """Say what is wrong with a cell, by the rule for one value."""
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
