"""Read the rows of a table for training or evaluation, with their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pyarrow as pa

from training.exclusions import RowChooser, find_columns, parse_exclusions
from training.infer import find_label
from training.labels import find_classes, find_word, read_words
from training.second_header import SECOND_HEADER, has_second_header
from training.tables import Fault, Table, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.labels import Classes
    from training.table_options import TableOptions


@dataclass(frozen=True, slots=True)
class Customers:
    """Selected rows of a table with labels.

    Attributes
    ----------
    table : Table
        Without excluded rows.
    label : str
        Label column.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed, NaN where the label is missing.
    classes : Classes
        The two label values.
    faults : tuple of Fault
        Invalid lines and missing labels.
    rows : int
        Number of rows of the file.
    left_out : int
        Number of excluded rows.
    notes : tuple of str
        Descriptions of the exclusions, one sentence each.
    """

    table: Table
    label: str
    labels: NDArray[np.float64]
    classes: Classes
    faults: tuple[Fault, ...]
    rows: int
    left_out: int
    notes: tuple[str, ...]


def read_customers(path: Path, **options: Unpack[TableOptions]) -> Customers:
    """Read a table, exclude rows, and read the label.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    **options
        See `TableOptions`. The schema selects the columns to read in addition to the label and those of `drop_rows`;
        by default, all columns are read. Those that concern the features are ignored.

    Raises
    ------
    TableError
        If the table, the label or an option is invalid.
    """
    schema, label, drop_rows = options.get("schema"), options.get("label"), options.get("drop_rows", ())
    positive, negative = options.get("positive"), options.get("negative")
    if schema is not None and label is not None:
        schema = replace(schema, label=label.strip())
    table = _take_out_second_header(read_table(path, schema, options.get("decimal"), find_columns(drop_rows)))
    rows = len(table.lines) + len({fault.line for fault in table.faults})
    label = find_label(path, list(table.columns), schema.label if schema is not None else label)
    chooser = RowChooser(label, positive, negative, parse_exclusions(path, drop_rows, list(table.columns)))
    table = table.select(chooser.exclude(table.columns.__getitem__, len(table.lines)))
    classes = find_classes(table, label, positive, negative)
    words = read_words(table.columns[label])
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
    """Replace a second header line of a table by a fault."""
    if not has_second_header(table.columns.values()):
        return table
    rest = np.arange(len(table.lines)) > 0
    fault = Fault(int(table.lines[0]), "", SECOND_HEADER)
    return replace(table.select(rest), faults=(fault, *table.faults))
