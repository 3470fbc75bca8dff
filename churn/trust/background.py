"""Checks of the background: the customers that predictions are explained against."""

from __future__ import annotations

import io
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from churn.dates import count_days
from churn.errors import BundleError
from churn.schema import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.schema import Feature, Schema

BACKGROUND_FILE = "background.npy"

MAX_ROWS = 4096
"""Larger backgrounds are rejected: the time of an explanation grows with them."""

_HEADER_BYTES = 4096


def limit_size(schema: Schema) -> int:
    """Return the number of bytes that the file may have."""
    return _HEADER_BYTES + 8 * MAX_ROWS * len(schema.features)


def decode_background(data: bytes, schema: Schema) -> NDArray[np.float64]:
    """Decode `background.npy` and check every value against the schema.

    Parameters
    ----------
    data : bytes
        At most `limit_size` of them. A NumPy file without pickled objects.
    schema : Schema

    Returns
    -------
    ndarray of float64, shape (m, features)
        A raw matrix as that of `churn.columns`; read-only.

    Raises
    ------
    BundleError
        If it is not valid; the message says what is allowed.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise BundleError(f"has version {version} of NumPy's format; allowed: (1, 0)")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise BundleError(f"is not a NumPy file: {error}") from error
    if dtype.str != "<f8" or by_columns:
        raise BundleError(f"contains {dtype.str}; allowed: <f8, row by row")
    if len(shape) != 2 or shape[1] != len(schema.features) or not 1 <= shape[0] <= MAX_ROWS:
        raise BundleError(f"has the shape {shape}; allowed: 1 to {MAX_ROWS} rows of {len(schema.features)} columns")
    rest = data[stream.tell() :]
    if len(rest) != 8 * shape[0] * shape[1]:
        raise BundleError(f"has {len(rest)} bytes of numbers for the shape {shape}")
    raw: NDArray[np.float64] = np.frombuffer(rest, "<f8").reshape(shape)
    for feature, column in zip(schema.features, raw.T, strict=True):
        _check_column(feature, column)
    return raw


def _check_column(feature: Feature, column: NDArray[np.float64]) -> None:
    gaps = np.isnan(column)
    if gaps.any() and not feature.nullable:
        raise BundleError(f"{feature.name} has a missing value in row {int(gaps.argmax())}, and is not nullable")
    least, most = -LARGEST, LARGEST
    if feature.kind in ("category", "flag"):
        least, most = 0.0, float(len(feature.levels) - 1 if feature.kind == "category" else 1)
    elif feature.kind == "date":
        least, most = count_days(date.min), count_days(date.max)
    else:
        least = least if feature.minimum is None else feature.minimum
        most = most if feature.maximum is None else feature.maximum
    wrong = ~gaps & ~((column >= least) & (column <= most))
    if feature.kind != "number":
        wrong |= ~gaps & (column != np.floor(column))
    if wrong.any():
        row = int(wrong.argmax())
        kind = "numbers" if feature.kind == "number" else "whole numbers"
        raise BundleError(
            f"{feature.name} has {column[row]:g} in row {row}; allowed: {kind} from {least:g} to {most:g}"
        )
