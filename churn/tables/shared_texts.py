"""Columns whose rows share texts: dictionaries and views. Their size says little about that of their cells.

Requires pyarrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute, types

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VIEW_BYTES = 16
"""Size of an element of a view: its length in 4 bytes, then the text or where it is."""


def compact(column: pa.Array) -> pa.Array:
    """Return a column with the same cells, and a dictionary that is not longer than the column.

    The time depends on the number of rows only, so that small batches may share a large dictionary.
    """
    if not types.is_dictionary(column.type) or len(column.dictionary) <= len(column):
        return column
    used = compute.unique(column.indices).drop_null()
    return pa.DictionaryArray.from_arrays(
        compute.index_in(column.indices, value_set=used), _take(column.dictionary, used)
    )


def take_rows(batch: pa.RecordBatch, places: NDArray[np.int64]) -> pa.RecordBatch:
    """Return the rows at given places, shape (n,)."""
    wanted = pa.array(places)
    return pa.record_batch([_take(column, wanted) for column in batch.columns], schema=batch.schema)


def _take(values: pa.Array, places: pa.Array) -> pa.Array:
    if not types.is_string_view(values.type):
        return values.take(places)
    # pyarrow can't take from views.
    chosen = np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)
    _, _, *texts = values.buffers()
    is_known = np.asarray(values.is_valid())[chosen]
    validity = None if is_known.all() else pa.array(is_known).buffers()[1]
    views = pa.py_buffer(np.ascontiguousarray(_read_views(values)[chosen]))
    return pa.Array.from_buffers(values.type, len(chosen), [validity, views, *texts])


def _read_views(values: pa.Array) -> NDArray[np.uint8]:
    used = (values.offset + len(values)) * _VIEW_BYTES  # a buffer may be longer
    return np.frombuffer(values.buffers()[1], np.uint8, used).reshape(-1, _VIEW_BYTES)[values.offset :]


def measure_texts(column: pa.Array) -> NDArray[np.int64] | None:
    """Return the length of each text of a column in bytes, 0 where there is none; None for other types.

    Returns
    -------
    ndarray of int64, shape (len(column),), or None
    """
    if types.is_dictionary(column.type):
        lengths = measure_texts(column.dictionary)
        if lengths is None:
            return None
        codes = column.indices.fill_null(len(lengths)).to_numpy(zero_copy_only=False)
        return np.append(lengths, 0)[np.asarray(codes, dtype=np.int64)]
    if types.is_string_view(column.type):
        if not len(column):
            return np.empty(0, dtype=np.int64)
        lengths = np.ascontiguousarray(_read_views(column)[:, :4]).view(np.int32)[:, 0].astype(np.int64)
        lengths[np.asarray(column.is_null())] = 0
        return lengths
    if types.is_string(column.type) or types.is_large_string(column.type):
        return np.asarray(compute.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    return None


def find_longest(column: pa.Array) -> int:
    """Return a number of bytes that no text of a column exceeds; much faster than measuring all of a dictionary."""
    if types.is_dictionary(column.type):
        return find_longest(column.dictionary)
    if types.is_string(column.type) or types.is_large_string(column.type):
        return compute.max(compute.binary_length(column)).as_py() or 0
    lengths = measure_texts(column)
    return 0 if lengths is None or not len(lengths) else int(lengths.max())
