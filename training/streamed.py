"""Reads a Parquet table too large for memory into arrays on disk, block by block.

What comes out is a `Dataset` like any other; its arrays are mapped from files that vanish with the process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pyarrow import parquet
from tqdm import tqdm

from churn.errors import TableError
from churn.files import sha256
from training.dataset import Dataset, check_classes, check_faults, encode_table, read_labels, with_trained_ranges
from training.infer import Inference, find_label, infer
from training.tables import Fault, Table, list_faults

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.dataset import OnBadRow

LARGE_ROWS = 1_000_000
"""A Parquet table of more rows than this is streamed."""

HEAD_ROWS = 500_000
"""Rows at the head of a large table that its schema is inferred from."""

BLOCK_ROWS = 262_144


def is_large(path: Path) -> bool:
    """Whether a table is to be streamed."""
    return path.suffix.lower() in (".parquet", ".pq") and path.is_file() and _count_rows(path) > LARGE_ROWS


def _count_rows(path: Path) -> int:
    rows: int = parquet.read_metadata(path).num_rows
    return rows


def load_streamed(
    path: Path,
    *,
    label: str | None = None,
    positive: str | None = None,
    identifier: str | None = None,
    schema: Schema | None = None,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    on_bad_row: OnBadRow = "refuse",
) -> Dataset:
    """Read a large Parquet table; the parameters are those of `training.dataset.load_dataset`.

    The schema is inferred from the first `HEAD_ROWS` rows, and every later row is held against it. Rows that repeat
    an earlier one are not looked for.

    Raises
    ------
    TableError
        Naming row and column of what can't be understood.
    """
    digest = sha256(path)
    head = _read_head(path, digest)
    label = find_label(head, schema.label if schema is not None else label)
    inference = None
    if schema is None:
        labels, _ = read_labels(head, label, positive)
        inference = infer(head, label, labels, identifier=identifier, keep=keep, drop=drop)
        schema = inference.schema
    raw, labels = _make_arrays(_count_rows(path), len(schema.features))
    faults: list[Fault] = []
    used = 0
    for table in _read_blocks(path, digest, [*schema.names, label]):
        block_labels, label_faults = read_labels(table, label, positive)
        block, block_faults = encode_table(table, schema)
        block_faults += label_faults
        good = ~np.isin(table.lines, [fault.line for fault in block_faults])
        faults += block_faults
        end = used + int(good.sum())
        raw[used:end], labels[used:end] = block[good], block_labels[good]
        used = end
    check_faults(path, faults, on_bad_row)
    raw, labels = raw[:used], labels[:used]
    check_classes(path, labels)
    return Dataset(
        schema=with_trained_ranges(schema, raw),
        raw=raw,
        labels=labels,
        source=_describe(path, digest, labels, inference),
        notes=_list_notes(inference, faults, _count_rows(path) - used),
    )


def _read_head(path: Path, digest: str) -> Table:
    batch = next(parquet.ParquetFile(path).iter_batches(HEAD_ROWS))
    return _as_table(path, digest, batch.to_pandas(), first_row=1)


def _read_blocks(path: Path, digest: str, columns: list[str]) -> Iterator[Table]:
    file = parquet.ParquetFile(path)
    absent = [name for name in columns if name not in file.schema_arrow.names]
    if absent:
        raise TableError(f"{path}: the schema's columns are absent: {', '.join(absent)}")
    first_row = 1
    with tqdm(total=file.metadata.num_rows, desc="reading", unit="row", unit_scale=True, disable=None) as bar:
        for batch in file.iter_batches(BLOCK_ROWS, columns=columns):
            yield _as_table(path, digest, batch.to_pandas(), first_row)
            first_row += len(batch)
            bar.update(len(batch))


def _as_table(path: Path, digest: str, frame: pd.DataFrame, first_row: int) -> Table:
    return Table(path, digest, frame, np.arange(first_row, first_row + len(frame)))


def _make_arrays(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make arrays whose pages live in a file that has no name: the kernel writes them out when memory is short."""
    arrays = []
    for shape in ((rows, columns), (rows,)):
        with tempfile.TemporaryFile() as file:
            arrays.append(np.memmap(file, dtype=np.float64, mode="w+", shape=shape))
    return arrays[0], arrays[1]


def _describe(path: Path, digest: str, labels: NDArray[np.float64], inference: Inference | None) -> dict[str, Any]:
    rows = _count_rows(path)
    return {
        "file": path.name,
        "sha256": digest,
        "rows": rows,
        "rows_used": len(labels),
        "rows_with_faults": rows - len(labels),
        "rows_repeated": 0,
        "positive_share": float(labels.mean()),
        "columns_dropped": dict(inference.dropped) if inference else {},
    }


def _list_notes(inference: Inference | None, faults: list[Fault], bad: int) -> tuple[str, ...]:
    notes = inference.notes if inference else ()
    if bad:
        notes = (*notes, f"{bad} rows are dropped for {len(faults)} faults:\n{list_faults(faults)}")
    return notes
