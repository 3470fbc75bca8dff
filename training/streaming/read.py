"""Reads a table batch by batch: a CSV or Parquet file, or a folder of Parquet files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv, parquet

from churn.errors import TableError
from churn.runtime.files import find_delimiter, sha256
from training.tables import INDEX, check_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CSV_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".txt"), (".parquet", ".pq")

BLOCK_BYTES = 8 << 20
"""Bytes of a CSV file read at once."""

BATCH_ROWS = 65_536
"""Rows of a Parquet file read at once."""

BUFFER_BYTES = 1 << 20
"""Read of a Parquet column at once, so that a large row group is not loaded whole."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows in a row.

    Attributes
    ----------
    rows : pyarrow.RecordBatch
        Of a CSV, all text.
    file : Path
    first : int
        Number of the first row within its file, counted from 1; of a CSV, among the whole rows.
    """

    rows: pa.RecordBatch
    file: Path
    first: int


@dataclass(slots=True)
class Source:
    """A table on disk.

    Attributes
    ----------
    path : Path
    files : tuple of Path
        What it is made of, in order.
    names : tuple of str
        Its columns.
    ragged : int
        Lines of a CSV left out in the last pass because they have too many or too few fields.
    """

    path: Path
    files: tuple[Path, ...]
    names: tuple[str, ...] = ()
    ragged: int = field(default=0)

    @property
    def is_text(self) -> bool:
        """Whether it is a CSV."""
        return self.files[0].suffix.lower() in CSV_SUFFIXES

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Yield the table's rows, all of its columns or some.

        Raises
        ------
        TableError
            If a file can't be read to its end, or two files of a folder differ in their columns.
        """
        self.ragged = 0
        for file in self.files:
            first = 1
            try:
                for rows in self._read_csv(columns) if self.is_text else _read_parquet(file, self.names, columns):
                    yield Batch(rows, file, first)
                    first += len(rows)
            except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
                raise TableError(f"{file}: can't be read: {error}") from error

    def _read_csv(self, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        with csv.open_csv(
            self.path,
            parse_options=self._parse_options(),
            read_options=csv.ReadOptions(
                block_size=BLOCK_BYTES, column_names=list(self.names), skip_rows_after_names=1
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(self.names, pa.string()),
                include_columns=list(columns or self.names),
                strings_can_be_null=False,
            ),
        ) as reader:
            yield from reader

    def _parse_options(self) -> csv.ParseOptions:
        return csv.ParseOptions(
            delimiter=_find_delimiter(self.path), newlines_in_values=True, invalid_row_handler=self._skip
        )

    def _skip(self, _: Any) -> str:  # noqa: ANN401  a row of Arrow's
        self.ragged += 1
        return "skip"

    def digest(self) -> str:
        """Return the SHA-256 of the file; of a folder, of its files' names and digests."""
        if self.files == (self.path,):
            return sha256(self.path)
        import hashlib

        lines = "".join(f"{sha256(file)}  {file.relative_to(self.path).as_posix()}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()


def open_source(path: Path) -> Source:
    """Find the files of a table and read its header.

    Raises
    ------
    TableError
        If there is no such table, it is of an unknown kind or empty, or its header can't be used.
    """
    source = Source(path, tuple(_find_files(path)))
    try:
        if source.is_text:
            if not path.stat().st_size:
                raise TableError(f"{path}: the file is empty")
            with csv.open_csv(
                path,
                parse_options=csv.ParseOptions(
                    delimiter=_find_delimiter(path), newlines_in_values=True, invalid_row_handler=lambda _: "skip"
                ),
                read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
            ) as reader:
                names = reader.schema.names
        else:
            # An index without a name, which pandas writes as a column, is not one of the table's.
            names = [name for name in parquet.read_schema(source.files[0]).names if not INDEX.fullmatch(name)]
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise TableError(f"{source.files[0]}: can't be read: {error}") from error
    source.names = tuple(check_header(path, names))
    return source


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


def _find_delimiter(path: Path) -> str:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return find_delimiter(file.readline())


def _read_parquet(file: Path, names: Sequence[str], columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER_BYTES) as opened:
        stored = [name for name in opened.schema_arrow.names if not INDEX.fullmatch(name)]
        if check_header(file, stored) != list(names):
            raise TableError(f"{file}: its columns ({', '.join(stored)}) are not those before ({', '.join(names)})")
        wanted = [name for name, own in zip(stored, names, strict=True) if columns is None or own in columns]
        owns = [own for own in names if columns is None or own in columns]
        for rows in opened.iter_batches(BATCH_ROWS, columns=wanted):
            yield pa.RecordBatch.from_arrays([rows.column(name) for name in wanted], names=owns)


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
