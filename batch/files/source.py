"""Input of a job: a file, a folder, a glob or standard input, read as one table."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from batch.columns import Columns
from batch.files.formats import Format, find_format
from batch.files.locations import STANDARD, find_files, hide_password
from batch.files.source_arrow import ArrowFile, ArrowStream, ParquetTable
from batch.files.source_csv import CsvTable
from batch.files.standard_streams import StandardInput
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from batch.files.blocks import Block, TableFile
    from batch.files.formats import Kind
    from batch.files.locations import InputFile
    from churn.reasons.strongest import ReasonWriter
    from churn.schema import Schema

_TABLES: dict[Kind, Any] = {"csv": CsvTable, "parquet": ParquetTable, "arrow": ArrowFile, "arrows": ArrowStream}

_STREAMS = ("csv", "arrows")
"""Formats that can be read sequentially."""


class Position(NamedTuple):
    """Position of a block in the input.

    Attributes
    ----------
    file : int
        Index of the file.
    offset : int
        Offset in the file: bytes of the uncompressed file for CSV, rows for other formats.
    """

    file: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SourceBlock:
    """A block with its position.

    Attributes
    ----------
    block : Block
    source : str
        Name of the file.
    after : Position
        Position of the next block.
    share : float
        Fraction of the input up to the end of the block, from 0 to 1; NaN if unknown.
    """

    block: Block
    source: str
    after: Position
    share: float


class Source:
    """The files of an input, read as one table.

    Parameters
    ----------
    name : str
        Path or URI of a file, folder or glob, or ``-`` for standard input.
    schema : Schema
    keep : sequence of str
        Columns to copy to the output.
    told : str, optional
        The format. Defaults to the format given by the file name.
    decimal : {".", ","}, optional
        Decimal separator of numbers in text. Detected for each CSV file by default.
    writer : ReasonWriter, optional
        Writes the reasons, if the scores have any. Blocks are then smaller.

    Attributes
    ----------
    name : str
        Name without password, for messages.
    files : sequence of InputFile or StandardInput
    form : Format
    columns : Columns

    Raises
    ------
    TableError
        If there is no file, a file can't be read, or a column is missing or occurs twice.
    """

    def __init__(
        self,
        name: str,
        schema: Schema,
        keep: Sequence[str] = (),
        told: str | None = None,
        decimal: str | None = None,
        writer: ReasonWriter | None = None,
    ) -> None:
        self._is_slow = writer is not None
        self.name = hide_password(name)
        self.files: Sequence[InputFile | StandardInput]
        if name == STANDARD:
            self.files = [StandardInput()]
            self.form = find_format(STANDARD, told or "csv")
            if self.form.kind not in _STREAMS:
                raise TableError(
                    f"{self.form.name} can't be read from standard input; allowed: csv, csv.gz, csv.zst, arrows"
                )
        else:
            files = find_files(name)
            self.files = files
            self.form = _find_common_form(files, told)
        self._tables = [self._open(file, schema, decimal) for file in self.files]
        first = self._tables[0]
        self.columns = Columns(self.files[0].name, first.schema, schema, keep, first.described, writer)
        for file, table in zip(self.files[1:], self._tables[1:], strict=True):
            self.columns.check_another(file.name, table.schema)

    @property
    def can_reopen(self) -> bool:
        """Whether the input can be read again."""
        return all(file.can_reopen for file in self.files)

    def blocks(self, position: Position) -> Generator[SourceBlock, None, None]:
        """Yield the blocks from a position on; the blocks depend only on the position.

        Raises
        ------
        TableError
            If a file can't be read.
        """
        total = sum(file.size for file in self.files)
        before = 0
        for index, (file, table) in enumerate(zip(self.files, self._tables, strict=True)):
            if index >= position.file:
                offset = position.offset if index == position.file else 0
                with explaining(file.name):
                    for block, after, share in table.blocks(self.columns, offset):
                        read = (before + share * file.size) / total if total else float("nan")
                        yield SourceBlock(block, file.name, Position(index, after), read)
            before += file.size

    def check_unchanged(self) -> None:
        """Raise an error if a file has changed since it was opened.

        Raises
        ------
        TableError
        """
        changed = [file.name for file in self.files if not file.is_unchanged]
        if changed:
            raise TableError(f"{changed[0]}: the file changed while it was read; nothing is published")

    def describe(self, hashed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return name, size and SHA-256 of all files; hashes of files that can be read again are given."""
        return hashed + [file.describe() for file in self.files if isinstance(file, StandardInput)]

    def _open(self, file: InputFile | StandardInput, schema: Schema, decimal: str | None) -> TableFile:
        with explaining(file.name):
            table: TableFile = _TABLES[self.form.kind](file, self.form, schema, decimal, is_slow=self._is_slow)
        return table


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Convert errors of reading a file to a `TableError` with its name."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        raise TableError(f"{name}: can't be read: {str(error).splitlines()[0]}") from error


def _find_common_form(files: Sequence[InputFile], told: str | None) -> Format:
    if told is not None:
        return find_format(files[0].name, told)
    forms = Counter(find_format(file.name) for file in files)
    if len(forms) > 1:
        names = ", ".join(form.name for form in forms)
        raise TableError(
            f"the files have different formats: {names}; select files of one format, for example 'folder/*.parquet'"
        )
    return next(iter(forms))
