"""Read a training table in batches from a CSV file, a Parquet file, or a folder of Parquet files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from churn import identifiers
from churn.errors import TableError, Violation
from churn.names import normalize_names
from churn.runtime.files import sha256
from churn.tables.cells import CellParser
from churn.tables.columns import ColumnsError
from churn.tables.csv_file import CsvFile
from churn.tables.encode import READABLE, is_readable
from churn.tables.encoding import NotUtf8Error, advise_conversion
from churn.tables.rows import Rows
from training.second_header import SECOND_HEADER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".txt"), (".parquet", ".pq")

BATCH_ROWS = 65_536
"""Number of rows per batch of a Parquet file."""

BUFFER_BYTES = 1 << 20
"""Buffer size in bytes for Parquet columns, so that large row groups are not loaded completely."""

_INDEX = "__index_level_"
"""Prefix of the column names under which pandas stores unnamed indexes, which are ignored."""


class Batch(NamedTuple):
    """Consecutive rows of a table.

    Attributes
    ----------
    rows : Rows
        Numbered by file. Their batch has only usable rows; for CSV, all columns are strings.
    file : Path
    """

    rows: Rows
    file: Path

    @property
    def usable(self) -> pa.RecordBatch:
        """The usable rows."""
        return self.rows.batch

    def find_lines(self) -> NDArray[np.int64]:
        """Return the line number of each usable row, counted from 1; for Parquet, the row number.

        Returns
        -------
        ndarray of int64, shape (usable rows,)
        """
        return self.rows.number()[self.rows.known_places]

    def find_broken(self) -> list[tuple[int, Violation]]:
        """Return line numbers and errors of unusable lines."""
        lines = self.rows.number() if self.rows.broken else ()
        return [(int(lines[one.row]), one) for one in self.rows.broken]


@dataclass(slots=True)
class Source:
    """A table on disk.

    Attributes
    ----------
    path : Path
    files : tuple of Path
        Files of the table, in order.
    names : tuple of str
        Columns of the table, or those that the schema selects.
    unreadable : mapping of str to pyarrow.DataType
        Columns with unsupported types, and these types.
    decimal : {".", ","} or None
        Decimal separator of numbers in text, if it was given.
    has_second_header : bool
        Whether the first row is a second header line, which is unusable.
    """

    path: Path
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()
    unreadable: Mapping[str, pa.DataType] = field(default_factory=dict)
    decimal: str | None = None
    has_second_header: bool = False
    _csv: CsvFile | None = None
    _header: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether the table is a CSV."""
        return self._csv is not None

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the rows of the table with all columns or the given ones.

        Raises
        ------
        TableError
            If a file can't be read, or the files of a folder have different columns.
        """
        wanted = [name for name in self.names if columns is None or name in columns]
        for file in self.files:
            try:
                yield from self._read_csv(self._csv, wanted) if self._csv else self._read_parquet(file, wanted)
            except (pa.ArrowException, OSError) as error:
                raise TableError(f"{file}: can't be read: {error}") from error

    def _read_csv(self, table: CsvFile, wanted: Sequence[str]) -> Iterator[Batch]:
        parser = CellParser(replace(table.form, names=self._header), wanted or self.names[:1])
        first = 1
        for block, _ in table.blocks(counts_lines=True):
            rows = parser.parse(block)
            if first == 1 and self.has_second_header:
                rows = replace(rows, broken=(Violation(0, "", SECOND_HEADER, None, "one header line"), *rows.broken))
            yield Batch(replace(rows, first=first).without_broken(), self.path)
            first += rows.total

    def _read_parquet(self, file: Path, wanted: Sequence[str]) -> Iterator[Batch]:
        decimals: dict[str, Decimal] = dict.fromkeys(wanted, ",") if self.decimal == "," else {}
        with parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as opened:
            stored = _drop_index(opened.schema_arrow.names)
            if tuple(_complete_header(stored)) != self._header:
                before = ", ".join(self._header)
                raise TableError(f"{file}: its columns ({', '.join(stored)}) are not those before ({before})")
            own = [stored[self._header.index(name)] for name in wanted]
            first = 1
            for batch in opened.iter_batches(BATCH_ROWS, columns=own):
                renamed = pa.RecordBatch.from_arrays([batch.column(name) for name in own], names=list(wanted))
                yield Batch(Rows(renamed, len(renamed), decimals=decimals, first=first), file)
                first += len(batch)

    def digest(self) -> str:
        """Return the SHA-256 of the file, or of the names and digests of the files in a folder."""
        if self.files == (self.path,):
            return sha256(self.path)
        import hashlib

        lines = "".join(f"{sha256(file)}  {file.relative_to(self.path).as_posix()}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def open_source(
    path: Path, schema: Schema | None = None, decimal: str | None = None, also: Collection[str] = ()
) -> Source:
    """Find the files of a table and read the header.

    Parameters
    ----------
    path : Path
    schema : Schema, optional
        Selects the columns to read. Defaults to all columns.
    decimal : {".", ","}, optional
        Decimal separator of numbers in text. Detected in the first rows of a CSV by default.
    also : collection of str
        Further columns to read, if they exist, in addition to those of the schema.

    Raises
    ------
    TableError
        If the table does not exist, is empty, or has an unknown format or an invalid header.
    """
    source = Source(path, tuple(_find_files(path)), decimal=decimal)
    first = source.files[0]
    features = () if schema is None else schema.features
    described = ""
    try:
        if first.suffix.lower() in CSV_SUFFIXES:
            numeric = None if schema is None else [one.name for one in features if not one.is_text]
            names = () if schema is None else (*schema.names, schema.label)
            source._csv = CsvFile(lambda: path.open("rb"), names, numeric, decimal)  # noqa: SLF001  factory of the class
            written, described = source._csv.form.names, source._csv.form.described  # noqa: SLF001
        else:
            fields = parquet.read_schema(first)
            written = tuple(_drop_index(fields.names))
    except TableError as error:
        hint = f"\n{advise_conversion(first)}" if isinstance(error, NotUtf8Error) else ""
        raise TableError(f"{first}: {error}{hint}") from None
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{first}: can't be read: {error}") from error
    header = tuple(_complete_header(written))
    if source._csv is None:  # noqa: SLF001
        kinds = zip(header, (fields.field(fields.names.index(name)).type for name in written), strict=True)
        source.unreadable = {name: kind for name, kind in kinds if not is_readable(kind)}
    source._header = header  # noqa: SLF001
    source.names = _choose_names(header, schema, also, f"{path}: ", described)
    return source


def refuse_unreadable(path: Path, schema: Schema, unreadable: Mapping[str, pa.DataType]) -> None:
    """Raise TableError if features or the identifier have unsupported types."""
    wrong = [f"{name} ({unreadable[name]})" for name in schema.names if name in unreadable]
    if wrong:
        raise TableError(
            f"{path}: columns hold what can't be scored: {', '.join(wrong)}; allowed: {READABLE}; leave them out with "
            "--drop"
        )
    kind = unreadable.get(schema.identifier, pa.string())
    if not identifiers.is_possible(kind) and not identifiers.is_bytes(kind):
        raise TableError(f"{path}: {schema.identifier} ({kind}) can't name customers; allowed: {identifiers.ALLOWED}")


def _choose_names(
    header: Sequence[str], schema: Schema | None, also: Collection[str], where: str, described: str
) -> tuple[str, ...]:
    wanted = header if schema is None else (*schema.names, schema.label, schema.identifier)
    twice = [name for name, count in Counter(header).items() if count > 1 and name in wanted]
    absent = [name for name in wanted if name not in header and (schema is None or name != schema.identifier)]
    if twice or absent:
        raise TableError(f"{where}{ColumnsError(absent, twice, described or ', '.join(header))}")
    return tuple(name for name in header if name in (*wanted, *also))


def _complete_header(names: Sequence[str]) -> list[str]:
    """Return normalised column names, with generated names for unnamed columns."""
    return [name or f"column_{position}" for position, name in enumerate(normalize_names(names), start=1)]


def _drop_index(names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.startswith(_INDEX)]


def _find_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(
            file
            for suffix in PARQUET_SUFFIXES
            for file in path.rglob(f"*{suffix}")
            if not any(part.startswith(("_", ".")) for part in file.relative_to(path).parts)
        )
        if not files:
            raise TableError(f"{path}: the folder holds no Parquet file (.parquet, .pq)")
        if any("=" in part for part in files[0].relative_to(path).parts[:-1]):
            raise TableError(f"{path}: columns in folder names ({files[0].relative_to(path)}) are not read")
        return files
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    if path.suffix.lower() not in (*CSV_SUFFIXES, *PARQUET_SUFFIXES):
        raise TableError(f"{path}: unknown kind of file; allowed: .csv, .txt, .parquet, .pq, a folder of Parquet files")
    return [path]


def count_rows(path: Path) -> int:
    """Return the number of rows; an estimate from the first lines for CSV, and 0 if the file is unreadable."""
    try:
        files = _find_files(path)
        if files[0].suffix.lower() in PARQUET_SUFFIXES:
            return sum(parquet.read_metadata(file).num_rows for file in files)
        with path.open("rb") as file:
            head = file.read(1 << 20)
        return round(path.stat().st_size * head.count(b"\n") / max(1, len(head)))
    except (TableError, pa.ArrowException, OSError):
        return 0  # the error is reported when the table is read
