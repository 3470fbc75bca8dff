"""Tables of a job: scores, rejects and progress, written in the same transactions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from batch.chunk import REJECTS, name_answer
from batch.sql.hashing import hash_query
from batch.sql.progress import Progress, ProgressTable
from batch.sql.selection import select_all
from batch.sql.write import CopyTableWriter, TableWriter, WrittenType
from churn.errors import TableError
from churn.names import ROW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch.sql.query import Position, Query
    from batch.sql.write import Column, IfExists
    from churn.database import Database
    from churn.tables.tally import Tally

LOCK_WAIT = "10s"
"""PostgreSQL's lock timeout: how long a job waits for another one on the same table; a killed job ends at once."""


class Tables:
    """Output tables of a job.

    Parameters
    ----------
    database : Database
    connection : sqlalchemy.Connection
        Connection of the writer; committed only here.
    query : Query
    table : str
    rejects_table : str, optional
        Defaults to the name of `table` with ``_rejects`` appended.
    reasons : sequence of tuple
        Columns of the reasons, as `churn.reasons.columns.list_columns` lists them.

    Raises
    ------
    TableError
        If a name is too long, both names are the same, or another job writes the table.
    """

    def __init__(
        self,
        database: Database,
        connection: sa.Connection,
        query: Query,
        table: str,
        rejects_table: str | None,
        reasons: Sequence[tuple[str, str]] = (),
    ) -> None:
        rejects_table = rejects_table or f"{table}_rejects"
        if rejects_table == table:
            raise TableError(f"{table}: scores and rejects need different tables")
        make = CopyTableWriter if database.can_copy else TableWriter
        passed: list[Column] = [] if query.has_identifier else [(ROW, sa.BigInteger())]
        names = [query.identifier, *query.keep] if query.has_identifier else query.keep
        passed += [(name, _choose_type(database, query, name)) for name in names]
        types: list[sa.types.TypeEngine[Any]] = [sa.Double(), sa.Boolean(), sa.Text()]
        types += [sa.Double() if kind == "number" else sa.Text() for _, kind in reasons]
        names = name_answer(query.identifier, query.keep, [name for name, _ in reasons])
        answer: list[Column] = list(zip(names, types, strict=True))
        rejects: list[Column] = [(name, sa.BigInteger() if name == "row" else sa.Text()) for name in REJECTS.names]
        self._database, self._connection = database, connection
        self.scores = make(connection, table, [*passed, *answer])
        self.rejects = make(connection, rejects_table, rejects)
        self._progress = ProgressTable(connection, table)
        if database.can_copy:
            self._lock(table)

    def begin(
        self, essence: Mapping[str, Any], state: Mapping[str, Any], if_exists: IfExists, *, resume: bool
    ) -> Progress:
        """Create the staging tables, or read the progress of a killed job.

        Raises
        ------
        TableError
            If a table exists and may not be replaced, or the killed job is a different one.
        """
        essence = {**essence, "rejects_table": self.rejects.name}
        if resume and self._progress.exists:
            return self._progress.read(essence)
        for table in (self.scores, self.rejects):
            if table.exists and if_exists == "fail":
                raise TableError(f"{table.name}: the table exists; use --if-exists replace or another name")
        self._progress.drop()
        for table in (self.scores, self.rejects):
            table.create_staging()
        begun = self._progress.create(essence, state)
        self._connection.commit()
        return begun

    def advance(self, now: Progress, position: Position, state: Mapping[str, Any]) -> Progress:
        """Commit the appended rows and the progress."""
        progress = self._progress.advance(now, position, state, finished=False)
        self._connection.commit()
        return progress

    def hash_written(self) -> dict[str, Any]:
        """Return the hashes of the appended rows for the summary, from the rows that the database gives back."""
        return {
            f"{part}_rows": self._hash(table) for part, table in (("output", self.scores), ("rejects", self.rejects))
        }

    def finish(self, now: Progress, tally: Tally, state: Mapping[str, Any]) -> None:
        """Verify that every row is in exactly one of the two tables, and record that only the renaming is left.

        Parameters
        ----------
        now : Progress
        tally : Tally
            Numbers of rows that the tables must have.
        state : mapping
            What a job that is resumed now needs to know.

        Raises
        ------
        TableError
            If the tables don't have the number of rows that were counted.
        """
        tally.check_written(self.scores.name, "tables", (self.scores.count(), self.rejects.count(distinct="row")))
        self._progress.advance(now, now.position, state, finished=True)

    def publish(self) -> None:
        """Rename the tables to their final names and end the job."""
        self.rejects.publish()
        self.scores.publish()
        self._progress.drop()
        self._connection.commit()

    def _hash(self, table: TableWriter) -> dict[str, Any]:
        text = select_all(self._connection, table.staging_name)
        return hash_query(self._connection, text, can_copy=self._database.can_copy).describe()

    def _lock(self, table: str) -> None:
        """Lock the table against other jobs while this one runs."""
        number = int.from_bytes(hashlib.sha256(table.encode()).digest()[:8], signed=True)
        try:
            self._connection.execute(sa.text(f"SET lock_timeout = '{LOCK_WAIT}'"))
            self._connection.execute(sa.text("SELECT pg_advisory_lock(:number)"), {"number": number})
            self._connection.execute(sa.text("RESET lock_timeout"))
        except sa.exc.OperationalError as error:
            raise TableError(f"{table}: another job is writing the same table") from error
        self._connection.commit()


def _choose_type(database: Database, query: Query, name: str) -> sa.types.TypeEngine[Any]:
    """Return the type of a kept column: the source's type if the target has it, otherwise text."""
    if database.can_copy and name in query.types:
        return WrittenType(query.types[name])
    return WrittenType("") if database.is_sqlite else sa.Text()
