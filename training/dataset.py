"""Load a training table: the raw matrix and the labels, validated against the schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pyarrow as pa

from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.encode import encode_batch
from churn.tables.encoding import advise_conversion
from training.customers import read_customers
from training.infer import infer, list_categories, plain
from training.leaks import refuse_leaks
from training.source import refuse_unreadable
from training.tables import Fault, Table, describe_dropped, has_other_encoding, list_faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.table_options import OnBadRow, TableOptions


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data.

    Attributes
    ----------
    schema : Schema
        Schema with the ranges of this table.
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    source : mapping
        File name, SHA-256 and row counts, as stored in the manifest.
    notes : tuple of str
        Remarks on dropped columns and rows, one sentence each.
    """

    schema: Schema
    raw: NDArray[np.float64]
    labels: NDArray[np.float64]
    source: Mapping[str, Any]
    notes: tuple[str, ...]


def load_dataset(path: Path, **options: Unpack[TableOptions]) -> Dataset:
    """Read a table, infer or check its schema, and encode it.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    **options
        See `TableOptions`.

    Raises
    ------
    TableError
        If the table is invalid; the message names file, line and column.
    """
    schema, keep, drop = options.get("schema"), options.get("keep", ()), options.get("drop", ())
    if schema is not None:
        options["schema"] = schema = schema.without(normalize_names(drop))
    found = read_customers(path, **options)
    table, labels, notes = found.table, found.labels, found.notes
    dropped: Mapping[str, str] = {}
    if schema is None:
        inference = infer(table, found.label, labels, options)
        schema, notes, dropped = inference.schema, (*notes, *inference.notes), inference.dropped
        has_identifier = inference.has_identifier
    else:
        has_identifier = schema.identifier in table.columns
        schema = list_categories(schema, table)
    refuse_unreadable(path, schema, table.unreadable)
    raw, faults = encode_table(table, schema)
    faults = [*found.faults, *faults]
    check_faults(path, faults, options.get("on_bad_row", "refuse"))
    good = ~np.isin(table.lines, [fault.line for fault in faults])
    ragged = len({fault.line for fault in table.faults})
    bad = ragged + int((~good).sum())
    if bad:
        notes = (*notes, describe_dropped(bad, len(faults), list_faults(faults)))
    repeated = _find_repeated(table) & good
    is_kept = good & ~repeated if has_identifier else good
    check_classes(path, labels[is_kept])
    raw, labels = raw[is_kept], labels[is_kept]
    notes = (*notes, *_describe_repeated(int(repeated.sum()), raw, labels, schema, has_identifier=has_identifier))
    refuse_leaks(path, schema, raw, labels, keep)
    source = {
        "file": path.name,
        "sha256": table.sha256,
        "rows": found.rows,
        "rows_used": len(labels),
        "rows_left_out": found.left_out,
        "rows_with_faults": bad,
        "rows_repeated": int((good & ~is_kept).sum()),
        "positive_share": float(labels.mean()),
        "columns_dropped": dict(dropped),
        "classes": asdict(found.classes),
        "has_identifier": has_identifier,
    }
    return Dataset(with_trained_ranges(schema, raw), raw, labels, source, notes)


def encode_table(table: Table, schema: Schema) -> tuple[NDArray[np.float64], list[Fault]]:
    """Encode the columns of a table to the raw matrix, and list all invalid cells.

    Returns
    -------
    raw : ndarray of float64, shape (n, features)
    faults : list of Fault
    """
    columns = [table.columns[name] for name in schema.names]
    encoded = encode_batch(schema, pa.record_batch(columns, list(schema.names)), table.decimals)
    return encoded.raw, [Fault.of(one, int(table.lines[one.row])) for one in encoded.violations]


def _find_repeated(table: Table) -> NDArray[np.bool_]:
    """Return a mask of the rows that are equal to an earlier one; missing cells are equal."""
    names = [str(position) for position in range(len(table.columns))]
    rows = pa.table([*table.columns.values(), pa.array(np.arange(len(table.lines)))], [*names, "row"])
    repeated = np.ones(len(table.lines), dtype=bool)
    repeated[rows.group_by(names).aggregate([("row", "min")]).column("row_min").to_numpy()] = False
    return repeated


def _describe_repeated(
    repeated: int, raw: NDArray[np.float64], labels: NDArray[np.float64], schema: Schema, *, has_identifier: bool
) -> list[str]:
    """Return a sentence on the number and treatment of duplicate rows."""
    notes = []
    if repeated and has_identifier:
        notes.append(f"{repeated:,} rows repeat an earlier one exactly and are dropped.")
    rows = np.column_stack([raw, labels])
    alike = len(rows) - len(np.unique(rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))))
    return notes + describe_alike(alike, schema.identifier if has_identifier else None)


def describe_alike(alike: int, identifier: str | None) -> list[str]:
    """Return a sentence on rows whose features and label are those of an earlier row; nothing if there are none.

    Parameters
    ----------
    alike : int
        Number of such rows.
    identifier : str or None
        Column that identifies a customer.
    """
    kept = "it is kept" if alike == 1 else "they are kept"
    if alike and identifier is not None:
        told = "1 customer is" if alike == 1 else f"{alike:,} customers are"
        return [f"{told} like an earlier one in all but {identifier}; {kept}."]
    if alike:
        told = "1 row repeats an earlier one" if alike == 1 else f"{alike:,} rows repeat an earlier one"
        return [f"{told}; {kept}, because no column says whether they are the same customer (--id names one)."]
    return []


def check_faults(path: Path, faults: Sequence[Fault], on_bad_row: OnBadRow) -> None:
    """Raise TableError with the first faults, unless invalid rows are to be dropped."""
    if faults and on_bad_row == "refuse":
        raise TableError(
            f"{path}: {len(faults)} cells or lines can't be used (--on-bad-row drop leaves their rows out):\n"
            f"{list_faults(faults)}" + (f"\n{advise_conversion(path)}" if has_other_encoding(faults) else "")
        )


def check_classes(path: Path, labels: NDArray[np.float64]) -> None:
    """Raise TableError if a class has too few customers for training.

    Parameters
    ----------
    path : Path
        For the message.
    labels : ndarray of float64, shape (n,)
        0 or 1.
    """
    check_counts(path, int((labels == 1).sum()), int((labels == 0).sum()))


def check_counts(path: Path, left: int, stayed: int) -> None:
    """Raise TableError if there are too few leavers or stayers."""
    for count, word in ((left, "left"), (stayed, "stayed")):
        if count < 10:
            raise TableError(f"{path}: only {count} usable customers {word}; at least 10 of each class are needed")


def with_trained_ranges(schema: Schema, raw: NDArray[np.float64]) -> Schema:
    """Return the schema with the ranges of the numbers in a raw matrix.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    """
    features = []
    for feature, numbers in zip(schema.features, raw.T, strict=True):
        if feature.is_quantity and not np.isnan(numbers).all():
            low, high = plain(float(np.nanmin(numbers))), plain(float(np.nanmax(numbers)))
            features.append(replace(feature, trained_minimum=low, trained_maximum=high))
        else:
            features.append(feature)
    return replace(schema, features=tuple(features))
