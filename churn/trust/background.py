"""Checks of the background: the customers that predictions are explained against."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from churn.dates import count_days
from churn.errors import BundleError
from churn.feature import LARGEST
from churn.trust.numbers import decode_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

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
    raw: NDArray[np.float64] = decode_numbers(data, "<f8", len(schema.features), MAX_ROWS)
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
