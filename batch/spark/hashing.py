"""Hashes of Spark's tables, computed by the Python workers and added up here."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from batch.row_hash import RowHash
from batch.spark.columns import choose
from batch.spark.rows import RAGGED
from batch.spark.session import quiet_about_pandas
from churn.names import normalize_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pyspark.sql import DataFrame

    from churn.schema import Schema

HASH = "__hash"
"""Column of a scored table: the state of a `RowHash` of some of the rows that were read; null in most rows."""


def hash_frame(frame: DataFrame, columns: Sequence[str] | None = None) -> RowHash:
    """Return the hash of the rows of a DataFrame, which does not depend on its partitions.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
    columns : sequence of str, optional
        Columns to hash. Defaults to all.
    """
    wanted = frame.columns if columns is None else columns
    chosen, plain = choose(frame, wanted)
    hash_them = partial(_hash_partition, names=chosen, columns=wanted)
    with quiet_about_pandas():
        return collect_hash(plain.mapInArrow(hash_them, f"{HASH} string"), wanted)


def collect_hash(table: DataFrame, columns: Iterable[str]) -> RowHash:
    """Return the sum of the hashes in the column `HASH`, which are of these columns."""
    hashed = RowHash(columns)
    for row in table.where(f"{HASH} IS NOT NULL").select(HASH).collect():
        hashed.merge(json.loads(row[0]))
    return hashed


def attach_hash(
    scored: Iterator[pa.RecordBatch], read: pa.RecordBatch, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Add the column `HASH` to scored rows: the hash of the rows that were read, in the first row of all.

    Part of the scored rows, it counts exactly once, whatever tasks Spark repeats.

    Parameters
    ----------
    scored : iterator of pyarrow.RecordBatch
        From `batch.spark.rows.score_rows`.
    read : pyarrow.RecordBatch
    columns : sequence of str
        Columns of `read` to hash.
    """
    state: str | None = _write_state(columns, [read])
    for batch in scored:
        cells = [state, *[None] * len(batch)][: len(batch)]
        yield batch.append_column(HASH, pa.array(cells, pa.string()))
        state = None if len(batch) else state


def list_hashed(there: Sequence[str], schema: Schema, keep: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table that are hashed: those that a job needs, and `RAGGED` if it has that.

    Parameters
    ----------
    there : sequence of str
        Columns of the table.
    schema : Schema
    keep : sequence of str
        Columns to copy to the scores.
    """
    needed = {schema.identifier, *schema.names, *normalize_names(keep), RAGGED}
    return tuple(name for name in there if name in needed)


def _hash_partition(
    batches: Iterator[pa.RecordBatch], names: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Hash one partition in a Python worker."""
    state = _write_state(columns, (batch.rename_columns(list(names)) for batch in batches))
    yield pa.record_batch([pa.array([state], pa.string())], names=[HASH])


def _write_state(columns: Iterable[str], batches: Iterable[pa.RecordBatch]) -> str:
    hashed = RowHash(columns)
    for batch in batches:
        hashed.add(batch)
    return json.dumps(hashed.to_state())
