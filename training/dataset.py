"""A table checked against its schema: the raw matrix and the labels that everything after works on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from churn.errors import TableError
from churn.names import normalize
from churn.tables.encode import encode_batch
from training.infer import find_label, infer, plain
from training.source import refuse_unreadable
from training.tables import Fault, Table, list_faults, read_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from churn.schema import Schema

OnBadRow = Literal["refuse", "drop"]

POSITIVE_WORDS = frozenset(
    {"1", "1.0", "yes", "true", "y", "t", "exited", "churn", "churned", "left", "attrited customer"}
)
NEGATIVE_WORDS = frozenset(
    {"0", "0.0", "no", "false", "n", "f", "stayed", "retained", "existing", "existing customer", "active"}
)
"""Labels as text, in lower case."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a network learns from.

    Attributes
    ----------
    schema : Schema
        With the ranges seen in this table.
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    source : mapping
        The file's name, SHA-256 and row counts, as the manifest keeps them.
    notes : tuple of str
        What was dropped or needs a word, a sentence each.
    """

    schema: Schema
    raw: NDArray[np.float64]
    labels: NDArray[np.float64]
    source: Mapping[str, Any]
    notes: tuple[str, ...]


def load_dataset(
    path: Path,
    *,
    label: str | None = None,
    positive: str | None = None,
    identifier: str | None = None,
    schema: Schema | None = None,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    category: Collection[str] = (),
    on_bad_row: OnBadRow = "refuse",
    decimal: str | None = None,
) -> Dataset:
    """Read a table, find or check its schema and encode it.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    label, positive, identifier : str or None
        The label's column, its value that means leaving, and the column that names a customer; found if None.
    schema : Schema or None
        What the columns are; inferred if None.
    keep, drop : collections of str
        Columns in or out, whatever they look like.
    category : collection of str
        Columns that are categories, though they hold numbers.
    on_bad_row : {"refuse", "drop"}
        Whether a faulty row stops the job or is left out and counted.
    decimal : {".", ","}, optional
        How the numbers of a CSV are written; found out by its first rows if not given.

    Raises
    ------
    TableError
        Naming file, line and column of what can't be understood.
    """
    table = read_table(path, schema, decimal)
    label = find_label(table, schema.label if schema is not None else label)
    labels, label_faults = read_labels(table, label, positive)
    notes: tuple[str, ...] = ()
    dropped: Mapping[str, str] = {}
    has_identifier = True
    if schema is None:
        inference = infer(table, label, labels, identifier=identifier, keep=keep, drop=drop, category=category)
        schema, notes, dropped = inference.schema, inference.notes, inference.dropped
        has_identifier = inference.has_identifier
    else:
        has_identifier = schema.identifier in table.frame.columns
    refuse_unreadable(path, schema, table.unreadable)
    raw, faults = encode_table(table, schema)
    faults = [*table.faults, *label_faults, *faults]
    check_faults(path, faults, on_bad_row)
    good = ~np.isin(table.lines, [fault.line for fault in faults])
    ragged = len({fault.line for fault in table.faults})
    bad = ragged + int((~good).sum())
    if bad:
        notes = (*notes, f"{bad} rows are dropped for {len(faults)} faults:\n{list_faults(faults)}")
    repeated = _find_repeated(table.frame) & good if has_identifier else np.zeros(len(good), dtype=bool)
    if repeated.any():
        notes = (*notes, f"{int(repeated.sum())} rows repeat an earlier one exactly and are dropped.")
    good &= ~repeated
    check_classes(path, labels[good])
    raw, labels = raw[good], labels[good]
    source = {
        "file": path.name,
        "sha256": table.sha256,
        "rows": len(table.frame) + ragged,
        "rows_used": len(labels),
        "rows_with_faults": bad,
        "rows_repeated": int(repeated.sum()),
        "positive_share": float(labels.mean()),
        "columns_dropped": dict(dropped),
    }
    return Dataset(with_trained_ranges(schema, raw), raw, labels, source, notes)


def read_labels(table: Table, label: str, positive: str | None) -> tuple[NDArray[np.float64], list[Fault]]:
    """Read the label's column as 0 and 1.

    Returns
    -------
    labels : ndarray of float64, shape (n,)
        NaN where the label is missing.
    faults : list of Fault
        The missing labels.

    Raises
    ------
    TableError
        If the column has not two values, or it is not clear which of them means leaving.
    """
    column = table.frame[label]
    words = column.astype(str).str.lower().str.strip().to_numpy(dtype=object)
    absent = column.isna().to_numpy() | (words == "?")
    found = sorted(set(words[~absent]))
    where = f"{table.path}: label {label}"
    if len(found) > 2:
        lines = [int(table.lines[np.flatnonzero(words == word)[0]]) for word in found[:5]]
        places = ", ".join(f"{word!r} (line {line})" for word, line in zip(found, lines, strict=False))
        raise TableError(f"{where} has {len(found)} values, and two are allowed: {places}{', …' * (len(found) > 5)}")
    if len(found) < 2:
        raise TableError(
            f"{where} has one value ({found}): there is nothing to tell apart" if found else f"{where} is empty"
        )
    yes = find_positive(where, found, positive)
    labels = np.where(words == yes, 1.0, 0.0)
    labels[absent] = np.nan
    faults = [Fault(int(line), label, "the label is missing") for line in table.lines[absent]]
    return labels, faults


def find_positive(where: str, found: Sequence[str], positive: str | None) -> str:
    """Return which of the label's two values means leaving; TableError if it is not clear."""
    if positive is not None:
        positive = normalize(positive)
        if positive.lower() not in found:
            raise TableError(f"{where}: --positive {positive!r} is none of its values: {', '.join(found)}")
        return positive.lower()
    for yes, no in (found, found[::-1]):
        if yes in POSITIVE_WORDS and no in NEGATIVE_WORDS:
            return yes
    raise TableError(f"{where} is {found[0]!r} or {found[1]!r}: say which one means leaving with --positive")


def encode_table(table: Table, schema: Schema) -> tuple[NDArray[np.float64], list[Fault]]:
    """Encode a table's columns into the raw matrix, and list every cell that is not allowed.

    Returns
    -------
    raw : ndarray of float64, shape (n, features)
    faults : list of Fault
    """
    columns = [table.arrow(name) for name in schema.names]
    encoded = encode_batch(schema, pa.record_batch(columns, list(schema.names)), table.decimals)
    return encoded.raw, [Fault.of(one, int(table.lines[one.row])) for one in encoded.violations]


def _find_repeated(frame: pd.DataFrame) -> NDArray[np.bool_]:
    return frame.duplicated().to_numpy(dtype=bool)


def check_faults(path: Path, faults: Sequence[Fault], on_bad_row: OnBadRow) -> None:
    """Refuse a table with faults, unless its faulty rows are to be dropped; TableError lists the first."""
    if faults and on_bad_row == "refuse":
        raise TableError(
            f"{path}: {len(faults)} cells or lines can't be used (--on-bad-row drop leaves their rows out):\n"
            f"{list_faults(faults)}"
        )


def check_classes(path: Path, labels: NDArray[np.float64]) -> None:
    """Refuse a table with too few customers of a class to learn from; TableError names the class."""
    check_counts(path, int((labels == 1).sum()), int((labels == 0).sum()))


def check_counts(path: Path, left: int, stayed: int) -> None:
    """Refuse a table with too few customers who left, or who stayed; TableError says which."""
    for count, word in ((left, "left"), (stayed, "stayed")):
        if count < 10:
            raise TableError(f"{path}: only {count} usable customers {word}; at least 10 of each class are needed")


def with_trained_ranges(schema: Schema, raw: NDArray[np.float64]) -> Schema:
    """Return the schema with the range of each quantity that a raw matrix shows."""
    features = []
    for feature, numbers in zip(schema.features, raw.T, strict=True):
        if feature.is_numeric and not np.isnan(numbers).all():
            low, high = plain(float(np.nanmin(numbers))), plain(float(np.nanmax(numbers)))
            features.append(replace(feature, trained_minimum=low, trained_maximum=high))
        else:
            features.append(feature)
    return replace(schema, features=tuple(features))
