"""Hashes of tables in databases: of the rows of a query, and of what a job reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from batch.row_hash import RowHash
from batch.sql.read import copy_lines, fetch_rows, write_rows
from batch.sql.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from batch.sql.read import Page


def hash_query(
    connection: sa.Connection, text: str, columns: Iterable[str] | None = None, *, can_copy: bool = False
) -> RowHash:
    """Return the hash of the rows of a query, which is that of the job that read or wrote them if they are the same.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    text : str
        Any ``SELECT`` statement.
    columns : iterable of str, optional
        Columns to hash, under the names that are hashed; found as those of a job's query are. Defaults to all.
    can_copy : bool
        Whether to read with PostgreSQL's COPY, as jobs do where the database can (`churn.database.Database.can_copy`).
        Its text of a value may differ from the driver's.

    Raises
    ------
    TableError
        If the query lacks a column or has one twice.
    """
    selection = Selection(connection, text)
    hashed = RowHash(selection.names if columns is None else columns)
    # A line of COPY has the columns in the order of the hash.
    statement = sa.select(*selection.label({name: selection.require(name) for name in hashed.columns}))
    if can_copy:
        for lines in copy_lines(connection, statement):
            hashed.add_lines(lines)
    else:
        for names, rows in fetch_rows(connection, statement):
            hashed.add(write_rows(names, list(zip(*rows, strict=True))))
    return hashed


class JobHashes:
    """Hashes of what a job reads and writes, saved with its progress.

    A resumed job goes on with the hash of the rows that its earlier runs read. The tables that it writes are hashed
    when they are complete, by reading them.

    Parameters
    ----------
    columns : iterable of str
        Columns that the job reads.
    is_wanted : bool
        Whether anything is hashed.

    Attributes
    ----------
    notes : tuple of str
        Messages for the user about what can't be hashed.
    """

    def __init__(self, columns: Iterable[str], *, is_wanted: bool) -> None:
        self._is_wanted = is_wanted
        self._read = RowHash(columns) if is_wanted else None
        self._written: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the progress of earlier runs, which have no hash if it wasn't wanted then.

        Parameters
        ----------
        state : mapping
            Of `batch.sql.progress.Progress`: from `to_state`, with the number of rows that are done.
        """
        if self._read is None:
            return
        if "hashes" in state:
            self._read.merge(state["hashes"]["read"])
            self._written = dict(state["hashes"]["written"])
        elif state["rows"]:
            self._read = None
            self.notes = (
                f"the first {state['rows']:,} rows were scored by a run without --records: the input has no hash",
            )

    def add(self, page: Page) -> None:
        """Add the rows of a page that was read."""
        if self._read is not None and page.hashed is not None:
            self._read.merge(page.hashed.to_state())

    def finish(self, written: Callable[[], dict[str, Any]]) -> None:
        """Hash the complete tables, if that is wanted, with a function that returns their part of the summary."""
        if self._is_wanted:
            self._written = written()

    def to_state(self) -> dict[str, Any]:
        """Return the part of a job's state that `restore` reads; empty if the input has no hash."""
        if self._read is None:
            return {}
        return {"hashes": {"read": self._read.to_state(), "written": self._written}}

    def summarize(self) -> dict[str, Any]:
        """Return the hashes for the summary; null is what could not be hashed."""
        if not self._is_wanted:
            return {}
        read = None if self._read is None else self._read.describe()
        return {"input_rows": read, "output_rows": None, "rejects_rows": None, **self._written}
