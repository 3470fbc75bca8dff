"""Export records to a CSV or Parquet file. Importing it loads pyarrow."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv, parquet

from churn.errors import TableError
from records.decision import Record
from records.find import select

if TYPE_CHECKING:
    from pathlib import Path

    from records.store import RecordStore

_KINDS = {
    "writer": pa.int32(),
    "sequence": pa.int64(),
    "time": pa.timestamp("us", "UTC"),
    "probability": pa.float64(),
    "churn": pa.bool_(),
    "threshold": pa.float64(),
}

FORM = pa.schema([(name, _KINDS.get(name, pa.string())) for name in Record._fields])
"""Columns of an exported file: those of the table; hashes are in hexadecimal digits."""


def export(store: RecordStore, path: Path, *, since: int | None = None, until: int | None = None) -> int:
    """Write the records of a time to a file, in the order of their times.

    Parameters
    ----------
    store : RecordStore
    path : Path
        Ends with ``.csv`` or ``.parquet``. The file appears when it is complete.
    since, until : int, optional
        See `records.find.find`.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    TableError
        If the file has another ending, or the database fails.
    OSError
        If the file can't be written.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise TableError(f"{path}: records can't be exported to this kind of file; allowed: .csv and .parquet")
    unfinished = path.with_name(f"{path.name}.unfinished")
    count = 0
    try:
        with ExitStack() as stack:
            writer = stack.enter_context(
                csv.CSVWriter(unfinished, FORM) if path.suffix == ".csv" else parquet.ParquetWriter(unfinished, FORM)
            )
            for records in select(store, since=since, until=until):
                columns = [
                    pa.array(_show(column), field.type)
                    for column, field in zip(zip(*records, strict=True), FORM, strict=True)
                ]
                writer.write_batch(pa.record_batch(columns, schema=FORM))
                count += len(records)
        os.replace(unfinished, path)  # noqa: PTH105  replaces what is there
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _show(column: tuple[Any, ...]) -> list[Any]:
    return [cell.hex() if isinstance(cell, bytes) else cell for cell in column]
