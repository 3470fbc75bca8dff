"""The query of a job, wrapped: its columns by name, its rows in the order of a key, and what is left of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from batch.chunk import score_schema
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from churn.schema import Schema

_BOOLEAN = 16
"""PostgreSQL's number of the type ``boolean``."""

_AGAIN = ":1"
"""What SQLite ends the name of a column with that another one has already."""

_FIRST_OWN_TYPE = 16_384
"""Where PostgreSQL's numbers of types that a person created begin; another database does not know those."""

_KINDS: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "str": str,
    "float": float,
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "datetime": datetime.fromisoformat,
    "UUID": UUID,
}
"""Types a key may have, each with what reads its text back without loss."""


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where rows are done: those without a key come first, then the others in the order of the key.

    Attributes
    ----------
    nulls : bool
        Whether the rows without a key are done.
    key : object
        The last key that is done; None before the first.
    """

    nulls: bool = False
    key: Any = None


class Query:
    """A query a person wrote, as a table to select from.

    The text stands in brackets of its own, so it may hold joins, CTEs, an order and comments; it is never pasted
    together with a value.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Used once, to learn the columns.
    text : str
    schema : Schema
        Its columns are looked for by name, then by name whatever the case: PostgreSQL folds unquoted names.
    key : str, optional
        The column that gives the rows their order; the identifier if not given.
    keep : sequence of str
        Columns to pass through.

    Attributes
    ----------
    text : str
    key : str
        The key's name among the columns of `select_after`.
    identifier : str
        What the identifier is called in the query, or in the schema if the query has none.
    keep : tuple of str
        Columns passed through, the key among them if it is not the identifier.
    types : mapping of str to str
        PostgreSQL's type of the identifier and of the kept columns, as DDL writes it; empty for other databases.

    Raises
    ------
    TableError
        If a column is absent, stands twice or is called as one of the answer's.
    """

    def __init__(
        self, connection: sa.Connection, text: str, schema: Schema, key: str | None = None, keep: Sequence[str] = ()
    ) -> None:
        self.text = text.strip().rstrip(";").strip()
        described = self._describe(connection)
        self._names = [str(column[0]) for column in described]
        twice = sorted(
            {name for name in self._names if self._names.count(name) > 1 or f"{name}{_AGAIN}" in self._names}
        )
        if twice:
            raise TableError(f"the query names a column twice: {', '.join(twice)}")
        absent = [name for name in schema.names if self._find(name) is None]
        if absent:
            raise TableError(f"the query lacks columns: {', '.join(absent)}; there is: {', '.join(self._names)}")
        found = self._find(schema.identifier)
        if key is None and found is None:
            raise TableError(
                f"the query has no column {schema.identifier} to put its rows in order by, so name one with --key; "
                f"there is: {', '.join(self._names)}"
            )
        source_key = str(found) if key is None else self._require(key)
        self.identifier = found or schema.identifier
        self.key = schema.identifier if source_key == found else source_key
        passed = dict.fromkeys([source_key, *map(self._require, keep)])
        self.keep = tuple(name for name in passed if name != found)
        taken = {field.name for field in score_schema(schema)} & {*self.keep}
        if taken:
            raise TableError(f"the query's column {', '.join(sorted(taken))} would hide one of the answer; rename it")
        self.types = _name_types(connection, described, (self.identifier, *self.keep))
        self._rows = self._as_table()
        self._key = self._rows.c[source_key]
        sources = {schema.identifier: found} if found else {}
        sources |= {name: self._require(name) for name in schema.names} | {name: name for name in self.keep}
        # A boolean's text is 't' in PostgreSQL's COPY; a schema reads 'true'.
        is_postgresql = connection.dialect.name == "postgresql"
        booleans = {column[0] for column in described if is_postgresql and column[1] == _BOOLEAN}
        self._columns = [
            (sa.cast(self._rows.c[source], sa.Text) if source in booleans else self._rows.c[source]).label(name)
            for name, source in sources.items()
        ]

    def select_nulls(self) -> sa.Select[Any]:
        """Return the selection of the rows without a key."""
        return sa.select(*self._columns).where(self._key.is_(None))

    def select_after(self, key: object) -> sa.Select[Any]:
        """Return the selection of the rows beyond a key (None: of all that have one), in order."""
        rest = self._key.is_not(None) if key is None else self._key > _as_literal(key)
        return sa.select(*self._columns).where(rest).order_by(self._key)

    def count(self, position: Position | None = None) -> sa.Select[Any]:
        """Return the count of all rows, or of those that `position` says are done."""
        counted = sa.select(sa.func.count()).select_from(self._rows)
        if position is None:
            return counted
        done = self._key.is_(None)
        return counted.where(done if position.key is None else done | (self._key <= _as_literal(position.key)))

    def _describe(self, connection: sa.Connection) -> Sequence[Any]:
        """Return what the driver says of the columns: a name, a type and more of each."""
        # A person's own statement, run with his own rights.
        nothing = sa.text(f"SELECT * FROM (\n{_escape(self.text)}\n) AS customers WHERE 1 = 0")  # noqa: S608
        cursor: Any = connection.execute(nothing).cursor
        described: Sequence[Any] = list(cursor.description)
        cursor.close()
        return described

    def _as_table(self) -> sa.Subquery:
        columns: list[sa.ColumnClause[Any]] = [sa.column(quoted_name(name, quote=True)) for name in self._names]
        return sa.text(f"\n{_escape(self.text)}\n").columns(*columns).subquery("customers")

    def _find(self, name: str) -> str | None:
        if name in self._names:
            return name
        alike = [other for other in self._names if other.lower() == name.lower()]
        return alike[0] if len(alike) == 1 else None

    def _require(self, name: str) -> str:
        found = self._find(name)
        if found is None:
            raise TableError(f"the query has no column {name}; there is: {', '.join(self._names)}")
        return found


def _name_types(connection: sa.Connection, described: Sequence[Any], wanted: Sequence[str]) -> dict[str, str]:
    if connection.dialect.name != "postgresql" or connection.dialect.driver != "psycopg":
        return {}
    numbers = {
        column.name: (column.type_code, column._fmod)  # noqa: SLF001  numeric(12, 2) and varchar(9) hold it there alone
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
    """Bind a key without a type, so that the database compares it as its column's."""
    return sa.bindparam("last_key", key, type_=sa.types.NullType(), unique=True)


def _escape(text: str) -> str:
    r"""Return a statement of which SQLAlchemy takes no ``:word`` for a parameter."""
    return text.replace(":", r"\:")


def write_key(key: object) -> str:
    """Return a key as text that `read_key` reads back exactly.

    Raises
    ------
    TableError
        If its type is none a table can be resumed by.
    """
    kind = type(key).__name__
    if kind not in _KINDS:
        raise TableError(f"--key: values of type {kind} can't be resumed from; allowed: {', '.join(_KINDS)}")
    return json.dumps([kind, str(key)])


def read_key(text: str) -> object:
    """Return the key that `write_key` wrote."""
    kind, value = json.loads(text)
    return _KINDS[kind](value)
