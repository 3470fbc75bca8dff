"""Read a training table into memory, with its faults by line and column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import TableError
from churn.tables.encode import simplify
from churn.tables.encoding import NOT_UTF8
from training.source import CSV_SUFFIXES, open_source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.numerals import Decimal
    from churn.schema import Schema

LISTED = 10
"""Maximum number of faults listed in a message."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An unusable cell or line.

    Attributes
    ----------
    line : int
        Line of the file, counted from 1 (for Parquet: the row, counted from 1).
    column : str
        Empty if the fault concerns the whole line.
    reason : str
    """

    line: int
    column: str
    reason: str

    @classmethod
    def of(cls, violation: Violation, line: int) -> Fault:
        """Return the fault for a violation in a line."""
        sent, told = violation.sent, f"{violation.reason}; allowed: {violation.allowed}"
        if not violation.field or sent is None or sent != sent:
            return cls(line, violation.field, told)
        word = str(int(sent)) if isinstance(sent, float) and sent.is_integer() else str(sent)
        return cls(line, violation.field, f"{word!r} {told}")

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory.

    Attributes
    ----------
    path : Path
    sha256 : str
        SHA-256 of the file.
    columns : mapping of str to pyarrow.Array
        Columns of integers, floats or strings. Strings are stripped and in Unicode normalisation form NFC. Missing
        cells are null.
    lines : ndarray of int64, shape (rows,)
        Line number of each row in the file, or its row number in a Parquet file, counted from 1, for messages; 0 if
        the row is of one of several files.
    faults : tuple of Fault
        Faults of lines that are not in `columns`.
    decimals : mapping of str to {".", ",", "?"}
        Decimal separators of numbers in strings; see `churn.tables.csv_format.CsvFormat`.
    unreadable : mapping of str to pyarrow.DataType
        Columns with unsupported types, and these types.
    """

    path: Path
    sha256: str
    columns: Mapping[str, pa.Array]
    lines: NDArray[np.int64]
    faults: tuple[Fault, ...] = ()
    decimals: Mapping[str, Decimal] = field(default_factory=dict)
    unreadable: Mapping[str, pa.DataType] = field(default_factory=dict)

    def locate(self, row: int) -> str:
        """Return the position of a row of `columns` for messages, such as "line 7"; empty if it is unknown."""
        unit = "line" if self.path.suffix.lower() in CSV_SUFFIXES else "row"
        return f"{unit} {self.lines[row]}" if self.lines[row] else ""

    def select(self, rows: NDArray[np.bool_]) -> Table:
        """Return the table with the selected rows.

        Parameters
        ----------
        rows : ndarray of bool, shape (rows,)
        """
        if rows.all():
            return self
        columns = {name: column.filter(pa.array(rows)) for name, column in self.columns.items()}
        return replace(self, columns=columns, lines=self.lines[rows])


def read_table(
    path: Path, schema: Schema | None = None, decimal: str | None = None, also: Collection[str] = ()
) -> Table:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : Path
    schema, decimal, also
        See `training.source.open_source`.

    Raises
    ------
    TableError
        If the file does not exist, is empty, or has an unknown format or an invalid header.
    """
    if path.is_dir():
        raise TableError(f"{path}: a folder is read with --stream alone")
    source = open_source(path, schema, decimal, also)
    batches = list(source.read())
    faults = [Fault.of(one, line) for batch in batches for line, one in batch.find_broken()]
    if not sum(len(batch.usable) for batch in batches):
        what = f"no line can be used:\n{list_faults(faults)}" if faults else "the table has a header and no rows"
        raise TableError(f"{path}: {what}")
    rows = pa.Table.from_batches([batch.usable for batch in batches])
    lines = np.concatenate([batch.find_lines() for batch in batches])
    decimals = batches[0].rows.decimals
    return Table(path, source.digest(), make_columns(rows), lines, tuple(faults), decimals, source.unreadable)


def make_columns(rows: pa.Table) -> dict[str, pa.Array]:
    """Convert the columns of rows; see `Table`."""
    return {
        name: _simplify(column.combine_chunks()) for name, column in zip(rows.column_names, rows.columns, strict=True)
    }


def _simplify(column: pa.Array) -> pa.Array:
    if pa.types.is_integer(column.type):
        return column
    column = simplify(column, as_text=False)
    if not pa.types.is_string(column.type):
        # NaN means a missing value, and -0 is 0.
        return pa.array(column.to_numpy(zero_copy_only=False) + 0.0, from_pandas=True)
    return compute.utf8_normalize(column, "NFC")


def has_other_encoding(faults: Iterable[Fault]) -> bool:
    """Return whether there are cells that are not UTF-8."""
    return any(NOT_UTF8 in fault.reason for fault in faults)


def describe_dropped(rows: int, faults: int, listed: str) -> str:
    """Return a sentence on dropped rows.

    Parameters
    ----------
    rows, faults : int
        Number of dropped rows, and of their faults.
    listed : str
        The first faults, one per line.
    """
    told = "1 row is" if rows == 1 else f"{rows:,} rows are"
    return f"{told} dropped for {faults:,} fault{'s' * (faults != 1)}:\n{listed}"


def list_faults(faults: Iterable[Fault]) -> str:
    """Return the first faults in file order, one per line, and the number of further ones."""
    ordered = sorted(faults, key=lambda fault: fault.line)
    shown = [f"  {fault}" for fault in ordered[:LISTED]]
    if len(ordered) > LISTED:
        shown.append(f"  … and {len(ordered) - LISTED} more")
    return "\n".join(shown)
