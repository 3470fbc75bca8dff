"""A user's query as a subquery whose columns are found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from batch.sql.statement import cut_end
from churn.errors import TableError
from churn.names import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BOOLEAN = 16
"""PostgreSQL's OID of the type ``boolean``."""

_AGAIN = ":1"
"""SQLite's suffix for the name of a duplicate column."""


class Selection:
    """A query as a subquery.

    The text is enclosed in parentheses, so it may contain joins, CTEs, an order and comments. Values are always bound
    as parameters, never inserted into the text.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Used once, to determine the columns.
    text : str

    Attributes
    ----------
    text : str
        Without semicolons and comments at its end.
    names : tuple of str
        Its columns.
    described : sequence
        The driver's description of them.
    rows : sqlalchemy.Subquery

    Raises
    ------
    TableError
        If a column occurs twice.
    """

    def __init__(self, connection: sa.Connection, text: str) -> None:
        self.text = cut_end(text, connection.dialect.name)
        self.described = self._describe(connection)
        self.names = tuple(str(column[0]) for column in self.described)
        twice = sorted({name for name in self.names if self.names.count(name) > 1 or f"{name}{_AGAIN}" in self.names})
        if twice:
            raise TableError(f"the query has duplicate columns: {', '.join(twice)}")
        columns: list[sa.ColumnClause[Any]] = [sa.column(quoted_name(name, quote=True)) for name in self.names]
        self.rows = sa.text(f"\n{_escape(self.text)}\n").columns(*columns).subquery("customers")
        # PostgreSQL's COPY writes booleans as 't'; the schema expects 'true'.
        is_postgresql = connection.dialect.name == "postgresql"
        self._booleans = {column[0] for column in self.described if is_postgresql and column[1] == _BOOLEAN}

    def find(self, name: str) -> str | None:
        """Return a column by its exact name, otherwise ignoring case; None if there is none, or several."""
        if name in self.names:
            return name
        wanted = normalize(name)
        alike = [other for other in self.names if normalize(other) == wanted]
        alike = alike or [other for other in self.names if normalize(other).casefold() == wanted.casefold()]
        return alike[0] if len(alike) == 1 else None

    def require(self, name: str) -> str:
        """Return a column as `find` does.

        Raises
        ------
        TableError
            If there is none, or several.
        """
        found = self.find(name)
        if found is None:
            raise TableError(f"the query has no column {name}; it has: {', '.join(self.names)}")
        return found

    def label(self, sources: Mapping[str, str]) -> list[sa.Label[Any]]:
        """Return columns under new names.

        Parameters
        ----------
        sources : mapping of str to str
            The query's names by the new ones.
        """
        return [
            (sa.cast(self.rows.c[source], sa.Text) if source in self._booleans else self.rows.c[source]).label(name)
            for name, source in sources.items()
        ]

    def _describe(self, connection: sa.Connection) -> Sequence[Any]:
        # The user's own statement, run with the user's privileges.
        nothing = sa.text(f"SELECT * FROM (\n{_escape(self.text)}\n) AS customers WHERE 1 = 0")  # noqa: S608
        cursor: Any = connection.execute(nothing).cursor
        described: Sequence[Any] = list(cursor.description)
        cursor.close()
        return described


def select_all(connection: sa.Connection, table: str) -> str:
    """Return the statement that selects all rows of a table, given as ``table`` or ``schema.table``."""
    schema, _, bare = table.rpartition(".")
    name = connection.dialect.identifier_preparer.format_table(sa.table(bare, schema=schema or None))
    return f"SELECT * FROM {name}"  # noqa: S608  a quoted name


def _escape(text: str) -> str:
    r"""Escape ``:word`` in a statement, which SQLAlchemy would treat as a parameter."""
    return text.replace(":", r"\:")
