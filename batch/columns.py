"""Which columns of a table a job needs, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from batch.chunk import score_schema
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.schema import Schema


def choose_columns(there: Sequence[str], schema: Schema, keep: Sequence[str], where: str = "") -> tuple[str, ...]:
    """Return the identifier, if the table has it, the features and what is passed through, each once.

    Parameters
    ----------
    there : sequence of str
        The table's columns.
    schema : Schema
    keep : sequence of str
        Columns to pass through.
    where : str
        What a message begins with.

    Raises
    ------
    TableError
        If a column is absent or stands twice, or one to keep is called as one of the answer's.
    """
    taken = sorted({field.name for field in score_schema(schema)} & {*keep})
    if taken:
        raise TableError(f"--keep {', '.join(taken)}: the result has a column of that name anyway")
    own = [schema.identifier] if schema.identifier in there else []
    chosen = tuple(dict.fromkeys([*own, *schema.names, *keep]))
    absent = [name for name in chosen if name not in there]
    if absent:
        raise TableError(f"{where}columns are absent: {', '.join(absent)}; there is: {', '.join(there)}")
    twice = [name for name in chosen if there.count(name) > 1]
    if twice:
        raise TableError(f"{where}the header names a column twice: {', '.join(twice)}")
    return chosen


class Columns:
    """The columns of a job's input.

    Parameters
    ----------
    where : str
        Name of the file that is looked at.
    found : pyarrow.Schema
        Its columns.
    schema : Schema
    keep : sequence of str
        Columns to pass through.

    Attributes
    ----------
    schema : Schema
    names : tuple of str
        What is read.
    keep : tuple of str
    kept : tuple of pyarrow.Field
        With their types.

    Raises
    ------
    TableError
        As `choose_columns` says.
    """

    def __init__(self, where: str, found: pa.Schema, schema: Schema, keep: Sequence[str]) -> None:
        self.schema = schema
        self.keep = tuple(dict.fromkeys(keep))
        self.names = choose_columns(found.names, schema, self.keep, f"{where}: ")
        self.kept = tuple(pa.field(name, _widen(found.field(name).type)) for name in self.keep)

    def check_another(self, where: str, found: pa.Schema) -> None:
        """Refuse a further file that lacks a column, or has one to pass through in another type.

        Raises
        ------
        TableError
        """
        wanted = [*self.keep, *([self.schema.identifier] if self.schema.identifier in self.names else [])]
        names = [name for name in found.names if name != self.schema.identifier or name in self.names]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise TableError(f"{where}: columns are absent that the first file has: {', '.join(absent)}")
        choose_columns(names, self.schema, self.keep, f"{where}: ")
        for field in self.kept:
            kind = _widen(found.field(field.name).type)
            if kind != field.type:
                raise TableError(f"{where}: {field.name} is {kind} here and {field.type} in the first file")

    def widen_kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch in which the kept columns hold their values, not places in a dictionary."""
        for field in self.kept:
            index = batch.schema.get_field_index(field.name)
            if batch.schema.field(index).type != field.type:
                batch = batch.set_column(index, field, batch.column(index).cast(field.type))
        return batch


def _widen(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column's values, however they are stored."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
