"""Reads a training table, CSV or Parquet, into columns; refuses what it can't understand by line and column."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn.errors import TableError
from churn.names import normalize_names
from churn.runtime.files import find_delimiter, sha256
from churn.schema import MISSING_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

INDEX = re.compile(r"__index_level_\d+__")
"""Name under which pandas writes an index without a name: none of the table's columns."""

LISTED = 10
"""How many faults a message lists before it only counts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One cell or line that can't be used.

    Attributes
    ----------
    line : int
        Line of the file, counted from 1 (for Parquet: the row, counted from 1).
    column : str
        Empty where the whole line is at fault.
    reason : str
    """

    line: int
    column: str
    reason: str

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}" if self.column else f"line {self.line}"
        return f"{where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was read.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of the file.
    frame : DataFrame
        A CSV's cells as text; a Parquet file's columns with their types. Missing cells are NA.
    lines : ndarray of int64, shape (rows,)
        Where each row stands in the file, for messages.
    faults : tuple of Fault
        Lines left out because they have too many or too few fields.
    """

    path: Path
    sha256: str
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    faults: tuple[Fault, ...] = ()


def read_table(path: Path) -> Table:
    """Read a CSV (comma or semicolon, LF or CRLF, BOM, quoted fields) or Parquet file.

    Raises
    ------
    TableError
        If the file is absent, empty, of an unknown kind, not UTF-8, or has a header with a name twice.
    """
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    if path.suffix.lower() in (".parquet", ".pq"):
        table = _read_parquet(path)
    elif path.suffix.lower() in (".csv", ".txt"):
        table = _read_csv(path)
    else:
        raise TableError(f"{path}: unknown kind of file; allowed: .csv, .txt, .parquet, .pq")
    if table.frame.empty and table.faults:
        raise TableError(f"{path}: no line can be used:\n{list_faults(table.faults)}")
    if table.frame.empty:
        raise TableError(f"{path}: the table has a header and no rows")
    return table


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: can't be read as Parquet: {error}") from error
    # An index without a name, which pandas writes as a column, is not one of the table's.
    names = [name for name in table.column_names if not INDEX.fullmatch(name)]
    header = check_header(path, names)
    columns = [
        simplify_column(column) for name, column in zip(table.column_names, table.columns, strict=True) if name in names
    ]
    frame = pa.table(columns, header).to_pandas().apply(clean_text)
    return Table(path, sha256(path), frame, np.arange(1, len(frame) + 1))


def simplify_column(column: Any) -> Any:  # noqa: ANN401  Arrow arrays, which have no types for mypy
    """Bring a Parquet column to one of the types a CSV can mean: a number, or text."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return simplify_column(column.cast(kind.value_type))
    if pa.types.is_decimal(kind):
        return column.cast(pa.string()).cast(pa.float64())  # at once, Arrow may miss the nearest number by a bit
    if pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_string(kind):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes, or a list or structure
        return pa.chunked_array([pa.array([None if cell is None else str(cell) for cell in column.to_pylist()])])


def clean_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Strip a column of text, and take the words for "not known" out; leave numbers as they are."""
    if column.dtype.kind in "iuf":
        return column
    stripped = column.str.strip()
    if not stripped.str.isascii().all():
        stripped = stripped.str.normalize("NFC")
    return stripped.mask(stripped.isin(MISSING_WORDS))


def _read_csv(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 and try again") from error
    if not text.strip():
        raise TableError(f"{path}: the file is empty")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TableError(f"{path}: line {line} holds a zero byte; save the file as UTF-8 text and try again")
    delimiter = find_delimiter(text.lstrip().split("\n", 1)[0])
    header, lines, faults = _survey(path, text, delimiter)
    if faults:  # pandas would fill short lines up in silence, so only whole lines are given to it
        text = _keep_lines(text, delimiter, {fault.line for fault in faults})
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=True,
            header=0,
            names=header,
        )
    except pd.errors.ParserError as error:
        raise TableError(f"{path}: can't be read as CSV (is a quote never closed?): {error}") from error
    return Table(path, sha256(path), frame.apply(clean_text), lines, tuple(faults))


def _survey(path: Path, text: str, delimiter: str) -> tuple[list[str], NDArray[np.int64], list[Fault]]:
    """Read the header and count every line's fields; return it, the whole rows' lines, and the faults."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines, faults = [], []
    try:
        header = check_header(path, next(row for row in reader if row))
        start = reader.line_num + 1
        for row in reader:
            if len(row) == len(header):
                lines.append(start)
            elif row:
                faults.append(Fault(start, "", f"{len(row)} fields, and the header has {len(header)}"))
            start = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num}: {error}") from error
    return header, np.array(lines, dtype=np.int64), faults


def check_header(path: Path, names: Sequence[str]) -> list[str]:
    """Return the names of the columns, stripped, one for each without a name; TableError if one stands twice."""
    header = [name or f"column_{position}" for position, name in enumerate(normalize_names(names), start=1)]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError(f"{path}: line 1: the header names a column twice: {', '.join(twice)}")
    return header


def _keep_lines(text: str, delimiter: str, left_out: set[int]) -> str:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    kept = io.StringIO(newline="")
    writer = csv.writer(kept, delimiter=delimiter, lineterminator="\n")
    start = 1
    for row in reader:
        if row and start not in left_out:
            writer.writerow(row)
        start = reader.line_num + 1
    return kept.getvalue()


def list_faults(faults: Iterable[Fault]) -> str:
    """Return the first faults in the order of the file, a line each, and how many more there are."""
    ordered = sorted(faults, key=lambda fault: fault.line)
    shown = [f"  {fault}" for fault in ordered[:LISTED]]
    if len(ordered) > LISTED:
        shown.append(f"  … and {len(ordered) - LISTED} more")
    return "\n".join(shown)


def as_numbers(column: pd.Series[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column as numbers.

    Returns
    -------
    numbers : ndarray of float64, shape (n,)
        NaN where a cell is missing or no finite number.
    wrong : ndarray of bool, shape (n,)
        Where a cell is there and is no finite number.
    """
    parsed = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = np.where(np.isfinite(parsed), parsed, np.nan)
    wrong = np.isnan(numbers) & column.notna().to_numpy()
    return numbers, wrong
