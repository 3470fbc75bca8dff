"""Decode NumPy files of numbers, without pickle and without trusting what their header says."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode_numbers(data: bytes, dtype: str, columns: int, most_rows: int) -> NDArray[Any]:
    """Decode a matrix.

    Parameters
    ----------
    data : bytes
        A NumPy file without pickled objects.
    dtype : str
        Its type, as ``"<f8"``.
    columns, most_rows : int

    Returns
    -------
    ndarray of `dtype`, shape (1 to `most_rows`, `columns`)
        Read-only.

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
        shape, by_columns, found = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise BundleError(f"is not a NumPy file: {error}") from error
    if found.str != dtype or by_columns:
        raise BundleError(f"contains {found.str}; allowed: {dtype}, row by row")
    if len(shape) != 2 or shape[1] != columns or not 1 <= shape[0] <= most_rows:
        raise BundleError(f"has the shape {shape}; allowed: 1 to {most_rows} rows of {columns} columns")
    rest = data[stream.tell() :]
    if len(rest) != found.itemsize * shape[0] * shape[1]:
        raise BundleError(f"has {len(rest)} bytes of numbers for the shape {shape}")
    return np.frombuffer(rest, dtype).reshape(shape)
