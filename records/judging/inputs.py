"""Encode recorded inputs to the raw matrix of a schema, which may be another one than theirs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from records.replay import read_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema


def encode_inputs(schema: Schema, inputs: Sequence[str | None], forms: Sequence[str | None]) -> NDArray[np.float64]:
    """Return recorded customers as a raw matrix, shape (n, features).

    Parameters
    ----------
    schema : Schema
    inputs, forms : sequence of str or None
        The columns `input` and `read_as` of records.

    Returns
    -------
    ndarray of float64
        Infinite in all columns of a customer whom the schema does not allow, or who was erased.
    """
    unusable = [math.inf] * len(schema.features)
    raw = np.empty((len(inputs), len(schema.features)))
    for place, (text, form) in enumerate(zip(inputs, forms, strict=True)):
        row = read_input(schema, text, form)
        raw[place] = unusable if isinstance(row, str) else row
    return raw


def find_usable(raw: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask, shape (n,), of the customers that `encode_inputs` could encode."""
    return np.asarray(~np.isinf(raw).any(axis=1))
