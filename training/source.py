"""Reads a training table batch by batch: a CSV or Parquet file, or a folder of Parquet files."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from churn import identifiers
from churn.errors import TableError
from churn.names import normalize_names
from churn.runtime.files import sha256
from churn.tables.cells import CellParser
from churn.tables.columns import ColumnsError
from churn.tables.csv_file import CsvFile
from churn.tables.encode import READABLE, is_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from churn.errors import Violation
    from churn.numerals import Decimal
    from churn.schema import Schema
    from churn.tables.rows import Rows

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".txt"), (".parquet", ".pq")

BATCH_ROWS = 65_536
"""Rows of a Parquet file read at once."""

BUFFER_BYTES = 1 << 20
"""Read of a Parquet column at once, so that a large row group is not loaded whole."""

_INDEX = "__index_level_"
"""Names under which pandas writes an index without a name begin so: none of the table's columns."""


class Batch(NamedTuple):
    """Some rows in a row.

    Attributes
    ----------
    rows : pyarrow.RecordBatch
        Those that can be used, by column; of a CSV, all text.
    file : Path
    first : int
        Number of the first of them within its file, counted from 1.
    find_lines : callable
        Returns the line of the file that each of them begins on, counted from 1; of a Parquet file, its row.
    decimals : mapping of str to {".", ",", "?"}
        How columns write numbers, as in `churn.tables.form.Form`.
    broken : sequence of (int, Violation)
        Lines that are no rows of the table, or hold text that can't be read, and what is wrong with them.
    """

    rows: pa.RecordBatch
    file: Path
    first: int
    find_lines: Callable[[], Sequence[int]]
    decimals: Mapping[str, Decimal]
    broken: Sequence[tuple[int, Violation]] = ()


@dataclass(slots=True)
class Source:
    """A table on disk.

    Attributes
    ----------
    path : Path
    files : tuple of Path
        What it is made of, in order.
    names : tuple of str
        Its columns, or of them those that a schema names.
    unreadable : mapping of str to pyarrow.DataType
        Columns that can't be scored because of their types, and these.
    ragged : int
        Lines of a CSV left out in the last pass.
    decimal : {".", ","} or None
        How numbers in text are written, if it was said.
    """

    path: Path
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()
    unreadable: Mapping[str, pa.DataType] = field(default_factory=dict)
    ragged: int = 0
    decimal: str | None = None
    _csv: CsvFile | None = None
    _header: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether it is a CSV."""
        return self._csv is not None

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the table's rows, all of its columns or some.

        Raises
        ------
        TableError
            If a file can't be read to its end, or two files of a folder differ in their columns.
        """
        self.ragged = 0
        wanted = [name for name in self.names if columns is None or name in columns]
        for file in self.files:
            try:
                for batch in self._read_csv(self._csv, wanted) if self._csv else self._read_parquet(file, wanted):
                    self.ragged += len({line for line, _ in batch.broken})
                    yield batch
            except (pa.ArrowException, OSError) as error:
                raise TableError(f"{file}: can't be read: {error}") from error

    def _read_csv(self, table: CsvFile, wanted: Sequence[str]) -> Iterator[Batch]:
        parser = CellParser(replace(table.form, names=self._header), wanted or self.names[:1])
        first = 1
        for block, _ in table.blocks(counts_lines=True):
            batch = _leave_out_broken(parser.parse(block), self.path, first)
            first += len(batch.rows)
            yield batch

    def _read_parquet(self, file: Path, wanted: Sequence[str]) -> Iterator[Batch]:
        decimals: dict[str, Decimal] = dict.fromkeys(wanted, ",") if self.decimal == "," else {}
        with parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as opened:
            stored = _drop_index(opened.schema_arrow.names)
            if tuple(_complete_header(stored)) != self._header:
                before = ", ".join(self._header)
                raise TableError(f"{file}: its columns ({', '.join(stored)}) are not those before ({before})")
            own = [stored[self._header.index(name)] for name in wanted]
            first = 1
            for rows in opened.iter_batches(BATCH_ROWS, columns=own):
                renamed = pa.RecordBatch.from_arrays([rows.column(name) for name in own], names=list(wanted))
                yield Batch(renamed, file, first, partial(range, first, first + len(rows)), decimals)
                first += len(rows)

    def digest(self) -> str:
        """Return the SHA-256 of the file; of a folder, of its files' names and digests."""
        if self.files == (self.path,):
            return sha256(self.path)
        import hashlib

        lines = "".join(f"{sha256(file)}  {file.relative_to(self.path).as_posix()}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def open_source(
    path: Path, schema: Schema | None = None, decimal: str | None = None, also: Collection[str] = ()
) -> Source:
    """Find the files of a table and read its header.

    Parameters
    ----------
    path : Path
    schema : Schema, optional
        Names the columns that are read, the identifier if it is there; all are if it is not given.
    decimal : {".", ","}, optional
        How numbers in text are written; found out by the first rows of a CSV if not given.
    also : collection of str
        Further columns that are read if they are there, where a schema names the others.

    Raises
    ------
    TableError
        If there is no such table, it is of an unknown kind or empty, or its header can't be used.
    """
    source = Source(path, tuple(_find_files(path)), decimal=decimal)
    first = source.files[0]
    features = () if schema is None else schema.features
    described = ""
    try:
        if first.suffix.lower() in CSV_SUFFIXES:
            numeric = None if schema is None else [one.name for one in features if not one.is_text]
            names = () if schema is None else (*schema.names, schema.label)
            source._csv = CsvFile(lambda: path.open("rb"), names, numeric, decimal)  # noqa: SLF001  its maker
            written, described = source._csv.form.names, source._csv.form.described  # noqa: SLF001
        else:
            fields = parquet.read_schema(first)
            written = tuple(_drop_index(fields.names))
    except TableError as error:
        hint = f"\n{hint_at_encoding(first)}" if "not UTF-8" in str(error) else ""
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


def hint_at_encoding(path: Path) -> str:
    """Return what to do with a table that is not UTF-8."""
    converted = path.with_name(f"{path.stem}-utf8{path.suffix}")
    command = shlex.join(["iconv", "-f", "WINDOWS-1252", "-t", "UTF-8", str(path)])
    return (
        "The file is not UTF-8, perhaps Latin-1 or Windows-1252, as Excel writes; convert it: "
        f"{command} > {shlex.quote(str(converted))}"
    )


def refuse_unreadable(path: Path, schema: Schema, unreadable: Mapping[str, pa.DataType]) -> None:
    """Refuse features that can't be scored, or an identifier that can't name customers, because of their types."""
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
    """Return the names of the columns as a schema holds them, one for each without a name."""
    return [name or f"column_{position}" for position, name in enumerate(normalize_names(names), start=1)]


def _drop_index(names: Sequence[str]) -> list[str]:
    return [name for name in names if not name.startswith(_INDEX)]


def _leave_out_broken(rows: Rows, file: Path, first: int) -> Batch:
    find_all = rows.find_lines
    assert find_all is not None  # noqa: S101  blocks are read from the first on
    places = np.arange(rows.total) if rows.places is None else rows.places
    batch, broken = rows.batch, []
    if rows.broken:
        lines = find_all()
        broken = [(lines[one.row], one) for one in rows.broken]
        good = ~np.isin(places, [one.row for one in rows.broken])
        batch, places = batch.filter(pa.array(good)), places[good]
    return Batch(batch, file, first, lambda: np.array(find_all())[places].tolist(), rows.decimals, broken)


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
            raise TableError(f"{path}: columns told by folders ({files[0].relative_to(path)}) are not read")
        return files
    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    if path.suffix.lower() not in (*CSV_SUFFIXES, *PARQUET_SUFFIXES):
        raise TableError(f"{path}: unknown kind of file; allowed: .csv, .txt, .parquet, .pq, a folder of Parquet files")
    return [path]


def count_rows(path: Path) -> int:
    """Return a table's rows; of a CSV, an estimate from the length of its first lines. 0 where nothing can be read."""
    try:
        files = _find_files(path)
        if files[0].suffix.lower() in PARQUET_SUFFIXES:
            return sum(parquet.read_metadata(file).num_rows for file in files)
        with path.open("rb") as file:
            head = file.read(1 << 20)
        return round(path.stat().st_size * head.count(b"\n") / max(1, len(head)))
    except (TableError, pa.ArrowException, OSError):
        return 0  # whoever reads it says what is wrong
