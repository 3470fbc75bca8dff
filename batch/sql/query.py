"""Find the columns that a job needs in a query, and select its rows in the order of a key."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from batch.columns import check_kept, explain_row_numbers
from batch.sql.selection import Selection
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from churn.schema import Schema

_FIRST_OWN_TYPE = 16_384
"""PostgreSQL's first OID of user-defined types, which other databases don't have."""

_KINDS: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "str": str,
    "float": float,
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "UUID": UUID,
}
"""Allowed types of a key, with the function that restores it exactly from text."""


@dataclass(frozen=True, slots=True)
class Position:
    """Position up to which rows are done. Rows without a key come first, then the others in the order of the key.

    Attributes
    ----------
    nulls : bool
        Whether the rows without a key are done.
    key : object
        The last key done; None before the first.
    """

    nulls: bool = False
    key: Any = None


class Query(Selection):
    """A user's query, with the columns that are read, and its rows in the order of a key.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Used once, to determine the columns.
    text : str
    schema : Schema
        Its columns are found by exact name, otherwise ignoring case, because PostgreSQL folds unquoted names.
    key : str, optional
        Column that orders the rows. Defaults to the identifier.
    keep : sequence of str
        Columns to copy to the scores.

    Attributes
    ----------
    key : str
        Name of the key in the columns of `select_after`.
    has_identifier : bool
        Whether the query has the identifier column.
    identifier : str
        Name of the identifier in the query, or in the schema if the query has none.
    notes : tuple of str
        Messages for the user about the columns.
    keep : tuple of str
        Columns to copy, including the key if it is not the identifier.
    columns : tuple of str
        Names of the columns that are read: the identifier, if the query has one, the features and the kept columns.
        Sorted, as `batch.row_hash.RowHash` needs them.
    types : mapping of str to str
        PostgreSQL's types of the identifier and of the kept columns, in DDL syntax; empty for other databases.

    Raises
    ------
    TableError
        If a column is missing, occurs twice, or has the name of the identifier.
    """

    def __init__(
        self, connection: sa.Connection, text: str, schema: Schema, key: str | None = None, keep: Sequence[str] = ()
    ) -> None:
        super().__init__(connection, text)
        absent = [name for name in schema.names if self.find(name) is None]
        if absent:
            raise TableError(f"the query lacks columns: {', '.join(absent)}; it has: {', '.join(self.names)}")
        found = self.find(schema.identifier)
        if key is None and found is None:
            raise TableError(
                f"the query has no column {schema.identifier} to order its rows by; name a column with --key; "
                f"it has: {', '.join(self.names)}"
            )
        source_key = str(found) if key is None else self.require(key)
        self.identifier = found or schema.identifier
        self.key = schema.identifier if source_key == found else source_key
        passed = dict.fromkeys([source_key, *map(self.require, keep)])
        self.keep = tuple(name for name in passed if name != found)
        self.has_identifier = found is not None
        self.notes = () if found else explain_row_numbers("the query", self.names, schema)
        check_kept(self.keep, schema, has_identifier=self.has_identifier)
        self.types = _name_types(connection, self.described, (self.identifier, *self.keep))
        self._key = self.rows.c[source_key]
        sources = {schema.identifier: found} if found else {}
        sources |= {name: self.require(name) for name in schema.names} | {name: name for name in self.keep}
        self.columns = tuple(sorted(sources))
        self._columns = self.label({name: sources[name] for name in self.columns})

    def select_nulls(self) -> sa.Select[Any]:
        """Return the statement that selects the rows without a key."""
        return sa.select(*self._columns).where(self._key.is_(None))

    def select_after(self, key: object) -> sa.Select[Any]:
        """Return the statement that selects the rows after a key, in order; with None, all rows that have a key."""
        rest = self._key.is_not(None) if key is None else self._key > _as_literal(key)
        return sa.select(*self._columns).where(rest).order_by(self._key)

    def count(self, position: Position | None = None) -> sa.Select[Any]:
        """Return the statement that counts all rows, or the rows up to `position`."""
        counted = sa.select(sa.func.count()).select_from(self.rows)
        if position is None:
            return counted
        done = self._key.is_(None)
        return counted.where(done if position.key is None else done | (self._key <= _as_literal(position.key)))


def _name_types(connection: sa.Connection, described: Sequence[Any], wanted: Sequence[str]) -> dict[str, str]:
    if connection.dialect.name != "postgresql" or connection.dialect.driver != "psycopg":
        return {}
    numbers = {
        column.name: (column.type_code, column._fmod)  # noqa: SLF001  the only place with the modifier of numeric(12, 2) and varchar(9)
        for column in described
        if column.name in wanted
    }
    ask = sa.text("SELECT format_type(:kind, :modifier)")
    return {
        name: "text"
        if kind >= _FIRST_OWN_TYPE
        else str(connection.execute(ask, {"kind": kind, "modifier": modifier}).scalar_one())
        for name, (kind, modifier) in numbers.items()
    }


def _as_literal(key: object) -> sa.BindParameter[Any]:
    """Bind a key without a type, so that the database compares it with the type of the column."""
    return sa.bindparam("last_key", key, type_=sa.types.NullType(), unique=True)


def write_key(key: object) -> str:
    """Return a key as text from which `read_key` restores it exactly.

    Raises
    ------
    TableError
        If jobs can't be resumed from keys of this type.
    """
    kind = type(key).__name__
    if kind not in _KINDS:
        raise TableError(f"--key: jobs can't be resumed from values of type {kind}; allowed: {', '.join(_KINDS)}")
    return json.dumps([kind, str(key)])


def read_key(text: str) -> object:
    """Return the key from the text of `write_key`."""
    kind, value = json.loads(text)
    return _KINDS[kind](value)
