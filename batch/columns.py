"""Select the columns of a table that a job needs, by name."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import pyarrow as pa

from batch.chunk import score_schema
from churn import identifiers
from churn.errors import TableError
from churn.names import ROW, find_alike, normalize_names
from churn.tables import columns as tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.reasons.strongest import ReasonWriter
    from churn.schema import Schema


def choose_columns(
    there: Sequence[str], schema: Schema, keep: Sequence[str], where: str = "", found: str = ""
) -> tuple[str, ...]:
    """Return the identifier (if the table has it), the features and the kept columns, each once.

    Parameters
    ----------
    there : sequence of str
        Columns of the table.
    schema : Schema
    keep : sequence of str
        Columns to copy to the scores.
    where, found : str
        Beginning of error messages, and the columns they list if not those of `there`.

    Raises
    ------
    TableError
        If a column is missing or occurs twice, or a kept column has the name of the column that identifies customers.
    """
    check_kept(keep, schema, has_identifier=schema.identifier in there)
    try:
        return tables.choose_columns(there, schema, keep, found)
    except tables.ColumnsError as error:
        raise TableError(f"{where}{error}") from None


def check_kept(keep: Sequence[str], schema: Schema, *, has_identifier: bool) -> None:
    """Raise TableError if kept columns have the name of the column that identifies customers.

    Case is ignored, as in most databases and in Spark.
    """
    keep = list(dict.fromkeys(keep))
    alike = find_alike([schema.identifier if has_identifier else ROW, *keep])
    taken = [name for name in keep if name in alike]
    if taken:
        raise TableError(f"--keep {', '.join(taken)}: the output identifies customers by a column of this name")


def explain_row_numbers(where: str, there: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """Return a note if a table has no identifier column, otherwise nothing.

    Parameters
    ----------
    where : str
        Name of the table.
    there : sequence of str
        Columns of the table.
    schema : Schema
    """
    if schema.identifier in there:
        return ()
    others = {_squeeze(name): name for name in there if name not in schema.names}
    similar = get_close_matches(_squeeze(schema.identifier), others, n=3, cutoff=0.75)
    hint = f" Is it {' or '.join(others[name] for name in similar)}? Then rename that column." if similar else ""
    note = (
        f"{where} has no column {schema.identifier}: the output identifies customers by row number, counted from 1, "
        f"in the column {ROW}.{hint}"
    )
    return (note,)


def _squeeze(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


class Columns:
    """Columns of a job's input.

    Parameters
    ----------
    where : str
        Name of the first file.
    found : pyarrow.Schema
        Columns of the first file.
    schema : Schema
    keep : sequence of str
        Columns to copy to the scores.
    described : str
        Columns that error messages list. Defaults to those of `found`.
    writer : ReasonWriter, optional
        Writes the reasons, if the scores have any.

    Attributes
    ----------
    schema : Schema
    names : tuple of str
        Columns to read.
    keep : tuple of str
    kept : tuple of pyarrow.Field
        Kept columns with their types.
    writer : ReasonWriter or None
    scores : pyarrow.Schema
        Schema of the scores.
    notes : tuple of str
        Notes for the user.

    Raises
    ------
    TableError
        See `choose_columns`.
    """

    def __init__(
        self,
        where: str,
        found: pa.Schema,
        schema: Schema,
        keep: Sequence[str],
        described: str = "",
        writer: ReasonWriter | None = None,
    ) -> None:
        self.schema = schema
        self.keep = tuple(dict.fromkeys(normalize_names(keep)))
        self.names = choose_columns(found.names, schema, self.keep, f"{where}: ", described)
        self.kept = tuple(pa.field(name, _widen(found.field(name).type)) for name in self.keep)
        has_identifier = schema.identifier in self.names
        if has_identifier:
            _check_identifier(where, found.field(schema.identifier))
        self.writer = writer
        self.scores = score_schema(schema, self.kept, has_identifier=has_identifier, writer=writer)
        self.notes = explain_row_numbers(where, found.names, schema)

    @property
    def distinct(self) -> tuple[str, ...]:
        """Columns of the scores for which a dictionary of their values would be of no use.

        These are the first one, the probability, the decision, and the points and sentences of reasons.
        """
        names = self.scores.names
        answer, reasons = names[1 + len(self.kept) :][:2], names[4 + len(self.kept) :]
        return (names[0], *answer, *(name for name in reasons if name.endswith(("_points", "_sentence", "_error"))))

    def check_another(self, where: str, found: pa.Schema) -> None:
        """Raise an error if another file lacks a column, or has a kept column with another type.

        Raises
        ------
        TableError
        """
        wanted = [*self.keep, *([self.schema.identifier] if self.schema.identifier in self.names else [])]
        names = [name for name in found.names if name != self.schema.identifier or name in self.names]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise TableError(f"{where}: lacks columns that the first file has: {', '.join(absent)}")
        choose_columns(names, self.schema, self.keep, f"{where}: ")
        for field in self.kept:
            kind = _widen(found.field(field.name).type)
            if kind != field.type:
                raise TableError(f"{where}: {field.name} is {kind} here and {field.type} in the first file")
        if self.schema.identifier in self.names:
            _check_identifier(where, found.field(self.schema.identifier))

    def widen_kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch with kept columns decoded from dictionaries, and UUIDs as text."""
        for field in self.kept:
            index = batch.schema.get_field_index(field.name)
            if batch.schema.field(index).type != field.type:
                column = batch.column(index)
                text = pa.types.is_string(field.type)
                column = identifiers.as_text(column, field.name) if text else column.cast(field.type)
                batch = batch.set_column(index, field, column)
        return batch


def _widen(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a column, without dictionary encoding."""
    if pa.types.is_dictionary(kind):
        return _widen(kind.value_type)
    return pa.string() if identifiers.is_uuid(kind) else kind


def _check_identifier(where: str, field: pa.Field) -> None:
    if not identifiers.is_possible(field.type) and not identifiers.is_bytes(field.type):
        raise TableError(
            f"{where}: the column {field.name} has the type {field.type}, which can't be an identifier; allowed: "
            f"{identifiers.ALLOWED}"
        )
