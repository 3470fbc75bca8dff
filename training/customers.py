"""The customers of a table that a network may learn from or be judged on: chosen rows, with their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from training.exclusions import RowChooser, find_columns, parse_exclusions
from training.infer import find_label
from training.labels import find_classes, find_word, read_words
from training.second_header import SECOND_HEADER, has_second_header
from training.tables import Fault, Table, read_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.labels import Classes


@dataclass(frozen=True, slots=True)
class Customers:
    """A table whose rows have been chosen.

    Attributes
    ----------
    table : Table
        Without the rows that are left out on purpose.
    label : str
        The label's column.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed, NaN where the label is missing.
    classes : Classes
        The label's two values.
    faults : tuple of Fault
        Lines that are no rows, and missing labels.
    rows : int
        Of the file, without its header.
    left_out : int
        Rows that are left out on purpose.
    notes : tuple of str
        What is left out, a sentence each.
    """

    table: Table
    label: str
    labels: NDArray[np.float64]
    classes: Classes
    faults: tuple[Fault, ...]
    rows: int
    left_out: int
    notes: tuple[str, ...]


def read_customers(
    path: Path,
    *,
    label: str | None = None,
    schema: Schema | None = None,
    positive: str | None = None,
    negative: str | None = None,
    drop_rows: Sequence[str] = (),
    decimal: str | None = None,
) -> Customers:
    """Read a table, leave out the rows that are not wanted, and read the label.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    label : str or None
        The label's column; the schema's, or found by its name, if None.
    schema : Schema or None
        Names the columns that are read, beside the label and those of `drop_rows`; all are if None.
    positive, negative : str or None
        The label's values that mean leaving and staying; found if None. If both are given, rows of other values are
        left out.
    drop_rows : sequence of str
        Further rows to leave out, as ``"COLUMN=VALUE"``.
    decimal : {".", ","}, optional
        How the numbers of a CSV are written; found out by its first rows if not given.

    Raises
    ------
    TableError
        If the table, the label or an option can't be understood.
    """
    if schema is not None and label is not None:
        schema = replace(schema, label=label.strip())
    whole = read_table(path, schema, decimal, find_columns(drop_rows))
    table = _take_out_second_header(whole)
    rows = len(table.lines) + len({fault.line for fault in table.faults})
    label = find_label(table, schema.label if schema is not None else label)
    chooser = RowChooser(label, positive, negative, parse_exclusions(path, drop_rows, list(table.frame.columns)))
    table = table.select(chooser.exclude(table.arrow, len(table.lines)))
    classes = find_classes(table, label, positive, negative)
    words = read_words(table.arrow(label))
    chosen = chooser.leave_others(words, np.ones(len(words), dtype=bool))
    table, words = table.select(chosen), words.filter(pa.array(chosen))
    missing = find_word(words, None)
    faults = [Fault(int(line), label, "the label is missing") for line in table.lines[missing]]
    return Customers(
        table,
        label,
        classes.encode(words),
        classes,
        (*table.faults, *faults),
        rows,
        chooser.left_out,
        chooser.describe(),
    )


def _take_out_second_header(table: Table) -> Table:
    """Return the table with a fault in place of a second header line."""
    if not has_second_header(map(table.arrow, table.frame.columns)):
        return table
    rest = np.arange(len(table.lines)) > 0
    fault = Fault(int(table.lines[0]), "", SECOND_HEADER)
    return replace(table.select(rest), faults=(fault, *table.faults))
