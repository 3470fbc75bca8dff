"""Random numbers of rows, which depend only on the seed and the row, not on the boundaries of batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from churn import identifiers

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

PART, SHARD, SAMPLE = range(3)
"""Purposes of the random numbers."""


def number_keys(start: int, count: int) -> NDArray[np.uint64]:
    """Return keys of rows computed from their number in the table, counted from 0."""
    return np.arange(start, start + count, dtype=np.uint64)


def identifier_keys(column: pa.Array, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys of rows computed from the identifier, so that all rows of a customer are in the same set.

    Parameters
    ----------
    column : pyarrow.Array
        Identifiers of any type.
    numbers : ndarray of uint64, shape (n,)
        Result of `number_keys`, used for rows without an identifier.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    text = identifiers.as_text(column)
    keys = pd.util.hash_array(np.asarray(text.fill_null(""), dtype=object), categorize=False)
    return np.where(np.asarray(text.is_null(), dtype=bool), numbers, keys)


def draw(keys: NDArray[np.uint64], seed: int, purpose: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key: SplitMix64 of key, seed and purpose.

    Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA.
    """
    start = _mix(np.array([seed * 16 + purpose + 1], dtype=np.uint64))
    numbers: NDArray[np.float64] = (_mix(_mix(keys) ^ start) >> np.uint64(11)) * np.float64(2.0**-53)
    return numbers


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
