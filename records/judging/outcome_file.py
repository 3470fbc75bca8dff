"""Read a table of outcomes: who had left, or was still a customer, on which day."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute, parquet

from churn import identifiers
from churn.errors import TableError, Violation
from churn.feature import Feature
from churn.names import normalize, normalize_names
from churn.runtime.files import sha256
from churn.schema import Schema
from churn.tables.cells import CellParser
from churn.tables.columns import ColumnsError
from churn.tables.csv_file import CsvFile
from churn.tables.encode import is_readable
from churn.tables.encoding import NotUtf8Error, advise_conversion
from churn.tables.rows import Rows, encode_rows
from records.decision import name_customer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".txt"), (".parquet", ".pq")

BATCH_ROWS = 65_536
"""Rows of a Parquet file that are read at once."""

LISTED = 20
"""Maximum number of faults in a message."""

DAY_SECONDS = 86_400

OTHER_LABEL = "outcome"
"""Name of the label that a schema must have; no column is read by it."""


class Columns(NamedTuple):
    """Names of the columns of a table of outcomes, and the format of its dates, as in `Feature.format`."""

    customer: str = "customer"
    date: str = "date"
    left: str = "left"
    date_format: str = ""


COLUMNS = Columns()


@dataclass(frozen=True, slots=True, eq=False)
class OutcomeTable:
    """The usable rows of a table of outcomes, each customer and day once.

    Attributes
    ----------
    name, sha256 : str
        Of the file.
    rows : int
        All rows of the file.
    customers : list of str
    days : ndarray of int64, shape (n,)
        Days since 1970-01-01.
    left : ndarray of bool, shape (n,)
    faults : tuple of str
        Why rows are not used, each with its line.
    faulty : int
        Number of these rows.
    """

    name: str
    sha256: str
    rows: int
    customers: list[str]
    days: NDArray[np.int64]
    left: NDArray[np.bool_]
    faults: tuple[str, ...]
    faulty: int

    def require_faultless(self) -> None:
        """Raise TableError with the faults, if there are any."""
        if self.faults:
            raise TableError(f"{self.name}: nothing is loaded, because rows are invalid:\n{self.list_faults()}")

    def list_faults(self) -> str:
        """Return the first faults, a line each."""
        more = len(self.faults) - LISTED
        return "\n".join([*self.faults[:LISTED], *([f"… and {more} more"] if more > 0 else [])])


def read_outcomes(path: Path, columns: Columns = COLUMNS) -> OutcomeTable:
    """Read a table of outcomes.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file.
    columns : Columns

    Raises
    ------
    TableError
        If the file can't be read, or lacks a column. Rows that can't be used are listed in the result instead.
    """
    names = list(map(normalize, columns[:3]))
    if len(set(names)) < len(names):
        raise TableError(f"customer, date and left are three columns; given: {', '.join(names)}")
    features = (
        Feature(names[1], "date", format=columns.date_format),
        Feature(names[2], "flag"),
    )
    schema = Schema(
        features, label=next(one for one in (OTHER_LABEL, "_", "__") if one not in names), identifier=names[0]
    )
    found = _Collector(schema)
    try:
        for rows in _read(path, names, schema):
            found.add(rows)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: can't be read: {error}") from error
    return found.finish(path)


class _Collector:
    """Collects the usable rows of a table, and the faults of the others."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        # A later date is a mistake, whatever the time zone of the bank.
        self._tomorrow = time.time() // DAY_SECONDS + 1
        self._rows = 0
        self._customers: list[str] = []
        self._days: list[NDArray[np.int64]] = []
        self._left: list[NDArray[np.bool_]] = []
        self._lines: list[NDArray[np.int64]] = []
        self._faults: list[tuple[int, str]] = []

    def add(self, rows: Rows) -> None:
        identifier = self._schema.identifier
        encoded = encode_rows(self._schema, rows)
        who = compute.utf8_trim_whitespace(identifiers.as_text(rows.batch.column(identifier), identifier))
        absent = np.zeros(rows.total, dtype=bool)
        absent[rows.known_places] = np.asarray(compute.fill_null(compute.equal(compute.binary_length(who), 0), True))
        late = encoded.raw[:, 0] > self._tomorrow
        unusable = [
            *encoded.violations,
            *_explain(absent & ~encoded.wrong, identifier, "is missing", "an identifier"),
            *_explain(late & ~absent & ~encoded.wrong, self._schema.names[0], "is in the future", "today or before"),
        ]
        numbers = rows.number()
        for one in unusable:
            what = f"{one.field} {one.reason}" if one.field else f"the row {one.reason}"
            sent = "" if one.sent is None else f": {one.sent!r}"
            self._faults.append((int(numbers[one.row]), f"{what}{sent}; allowed: {one.allowed}"))
        good = ~(encoded.wrong | absent | late)
        kept = good[rows.known_places]
        self._customers += who.filter(pa.array(kept)).to_pylist()
        self._days.append(encoded.raw[good, 0].astype(np.int64))
        self._left.append(encoded.raw[good, 1] == 1)
        self._lines.append(numbers[good])
        self._rows += rows.total

    def finish(self, path: Path) -> OutcomeTable:
        days = np.concatenate([*self._days, np.zeros(0, np.int64)])
        left = np.concatenate([*self._left, np.zeros(0, bool)])
        lines = np.concatenate([*self._lines, np.zeros(0, np.int64)])
        customers = [str(name_customer(one)) for one in self._customers]
        first: dict[tuple[str, int], int] = {}
        kept = []
        wrong = {line for line, _ in self._faults}
        for row, key in enumerate(zip(customers, days.tolist(), strict=True)):
            before = first.setdefault(key, row)
            if before == row:
                kept.append(row)
            elif left[before] != left[row]:
                opposite = f"says the opposite of line {lines[before]} for the same customer and day"
                self._faults.append((int(lines[row]), f"{opposite}; allowed: one of both"))
                wrong |= {int(lines[row]), int(lines[before])}
        if wrong:
            kept = [row for row in kept if int(lines[row]) not in wrong]
        word = "row" if path.suffix.lower() in PARQUET_SUFFIXES else "line"
        return OutcomeTable(
            path.name,
            sha256(path),
            self._rows,
            [customers[row] for row in kept],
            days[kept],
            left[kept],
            tuple(f"{word} {line}: {what}" for line, what in sorted(self._faults)),
            len(wrong),
        )


def _explain(wrong: NDArray[np.bool_], field: str, reason: str, allowed: str) -> list[Violation]:
    return [Violation(row, field, reason, None, allowed) for row in np.flatnonzero(wrong).tolist()]


def _read(path: Path, names: Sequence[str], schema: Schema) -> Iterator[Rows]:
    """Yield the rows of a table with the given columns."""
    suffix = path.suffix.lower()
    if suffix in CSV_SUFFIXES:
        yield from _read_csv(path, names, schema)
    elif suffix in PARQUET_SUFFIXES:
        yield from _read_parquet(path, names)
    else:
        raise TableError(f"{path}: unknown kind of file; allowed: {', '.join((*CSV_SUFFIXES, *PARQUET_SUFFIXES))}")


def _read_csv(path: Path, names: Sequence[str], schema: Schema) -> Iterator[Rows]:
    try:
        table = CsvFile(lambda: path.open("rb"), names, ())
    except TableError as error:
        hint = f"\n{advise_conversion(path)}" if isinstance(error, NotUtf8Error) else ""
        raise TableError(f"{path}: {error}{hint}") from None
    header = tuple(normalize_names(table.form.names))
    _check_header(path, header, names, table.form.described)
    parser = CellParser(replace(table.form, names=header), names, schema.features)
    for block, _ in table.blocks(counts_lines=True):
        yield parser.parse(block)


def _read_parquet(path: Path, names: Sequence[str]) -> Iterator[Rows]:
    with parquet.ParquetFile(path) as opened:
        stored = opened.schema_arrow.names
        header = normalize_names(stored)
        _check_header(path, header, names, ", ".join(stored))
        own = [stored[header.index(name)] for name in names]
        kinds = [opened.schema_arrow.field(name).type for name in own]
        if wrong := [
            f"{name} ({kind})" for name, kind in zip(own[1:], kinds[1:], strict=True) if not is_readable(kind)
        ]:
            raise TableError(f"{path}: columns contain neither dates nor flags: {', '.join(wrong)}")
        first = 1
        for batch in opened.iter_batches(BATCH_ROWS, columns=own):
            columns = [batch.column(name) for name in own]
            yield Rows(pa.RecordBatch.from_arrays(columns, names=list(names)), len(batch), first=first)
            first += len(batch)


def _check_header(path: Path, header: Sequence[str], names: Sequence[str], described: str) -> None:
    absent = [name for name in names if name not in header]
    twice = [name for name in names if list(header).count(name) > 1]
    if absent or twice:
        raise TableError(
            f"{path}: {ColumnsError(absent, twice, described)}; name the columns with --customer, --date and --left"
        )
