"""What a job reads: a file, a folder, a glob or standard input, as one table."""

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
    from churn.schema import Schema

_TABLES: dict[Kind, Any] = {"csv": CsvTable, "parquet": ParquetTable, "arrow": ArrowFile, "arrows": ArrowStream}

_STREAMS = ("csv", "arrows")
"""Kinds that need not be read from anywhere but the start."""


class Position(NamedTuple):
    """Where a block begins.

    Attributes
    ----------
    file : int
        Which of the files.
    offset : int
        In it: bytes of an unpacked CSV file, rows of any other; 0 is the start.
    """

    file: int = 0
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A block on its way.

    Attributes
    ----------
    block : Block
    source : str
        Name of its file.
    after : Position
        Where the next one begins.
    share : float
        How much of the input is read when this block is, 0 to 1; NaN if nobody knows.
    """

    block: Block
    source: str
    after: Position
    share: float


class Source:
    """The files of an input, as one table.

    Parameters
    ----------
    name : str
        A file, a folder, a glob, or ``-`` for standard input; a path or a URI.
    schema : Schema
    keep : sequence of str
        Columns to pass through.
    told : str, optional
        The form, where the name does not say it.
    decimal : {".", ","}, optional
        How numbers in text are written; found out for each CSV file if not given.

    Attributes
    ----------
    name : str
        Without a password.
    files : sequence of InputFile or StandardInput
    form : Format
    columns : Columns

    Raises
    ------
    TableError
        If there is no such file, it can't be read, or a column is absent or stands twice.
    """

    def __init__(
        self,
        name: str,
        schema: Schema,
        keep: Sequence[str] = (),
        told: str | None = None,
        decimal: str | None = None,
    ) -> None:
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
        self.columns = Columns(self.files[0].name, first.schema, schema, keep, first.described)
        for file, table in zip(self.files[1:], self._tables[1:], strict=True):
            self.columns.check_another(file.name, table.schema)

    @property
    def can_reopen(self) -> bool:
        """Whether it can be read again."""
        return all(file.can_reopen for file in self.files)

    def blocks(self, position: Position) -> Generator[Step, None, None]:
        """Yield the input's blocks from a position on; the same position always gives the same blocks.

        Raises
        ------
        TableError
            If a file can't be read further.
        """
        total = sum(file.size for file in self.files)
        before = 0
        for index, (file, table) in enumerate(zip(self.files, self._tables, strict=True)):
            if index >= position.file:
                offset = position.offset if index == position.file else 0
                with explaining(file.name):
                    for block, after, share in table.blocks(self.columns, offset):
                        read = (before + share * file.size) / total if total else float("nan")
                        yield Step(block, file.name, Position(index, after), read)
            before += file.size

    def check_unchanged(self) -> None:
        """Refuse an input that is not as it was when it was opened.

        Raises
        ------
        TableError
        """
        changed = [file.name for file in self.files if not file.is_unchanged]
        if changed:
            raise TableError(f"{changed[0]}: the file changed while it was read; nothing is published")

    def describe(self, hashed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return name, bytes and SHA-256 of all files, of which those that can be read again are given."""
        return hashed + [file.describe() for file in self.files if isinstance(file, StandardInput)]

    def _open(self, file: InputFile | StandardInput, schema: Schema, decimal: str | None) -> TableFile:
        with explaining(file.name):
            table: TableFile = _TABLES[self.form.kind](file, self.form, schema, decimal)
        return table


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Raise what reading a file raises as a `TableError` that names it."""
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
        raise TableError(f"the files are of several kinds: {names}; name those of one kind, as in 'folder/*.parquet'")
    return next(iter(forms))
