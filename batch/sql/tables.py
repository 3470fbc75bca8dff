"""The tables of one job on the writer's connection: scores, rejects and progress, in the same transactions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from batch.chunk import REJECTS
from batch.sql.progress import Progress, ProgressTable
from batch.sql.write import CopyTableWriter, TableWriter, WrittenType
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.sql.database import Database
    from batch.sql.query import Position, Query
    from batch.sql.write import Column, IfExists
    from batch.tally import Tally

LOCK_WAIT = "10s"
"""How long a job waits for another on the same table to end, as PostgreSQL takes it; a killed one ends at once."""


class Tables:
    """Where one job's rows go.

    Parameters
    ----------
    database : Database
    connection : sqlalchemy.Connection
        The writer's; committed here and nowhere else.
    query : Query
    table : str
    rejects_table : str, optional
        The table's name with ``_rejects`` if not given.

    Raises
    ------
    TableError
        If a name is too long, both are the same or another job writes the table.
    """

    def __init__(
        self, database: Database, connection: sa.Connection, query: Query, table: str, rejects_table: str | None
    ) -> None:
        rejects_table = rejects_table or f"{table}_rejects"
        if rejects_table == table:
            raise TableError(f"{table}: scores and rejects need a table each")
        make = CopyTableWriter if database.can_copy else TableWriter
        passed: list[Column] = [(name, _choose_type(database, query, name)) for name in (query.identifier, *query.keep)]
        answer: list[Column] = [("probability", sa.Double()), ("churn", sa.Boolean()), ("model_version", sa.Text())]
        rejects: list[Column] = [(name, sa.BigInteger() if name == "row" else sa.Text()) for name in REJECTS.names]
        self._connection = connection
        self.scores = make(connection, table, [*passed, *answer])
        self.rejects = make(connection, rejects_table, rejects)
        self._progress = ProgressTable(connection, table)
        if database.can_copy:
            self._lock(table)

    def begin(
        self, essence: Mapping[str, Any], state: Mapping[str, Any], if_exists: IfExists, *, resume: bool
    ) -> Progress:
        """Make the tables aside, or find how far a killed job came.

        Raises
        ------
        TableError
            If a table exists that must not, or the killed job was another.
        """
        essence = {**essence, "rejects_table": self.rejects.name}
        if resume and self._progress.exists:
            return self._progress.read(essence)
        for table in (self.scores, self.rejects):
            if table.exists and if_exists == "fail":
                raise TableError(
                    f"{table.name}: the table exists; replace it with --if-exists replace, or name another"
                )
        self._progress.drop()
        for table in (self.scores, self.rejects):
            table.create_aside()
        begun = self._progress.create(essence, state)
        self._connection.commit()
        return begun

    def advance(self, now: Progress, position: Position, state: Mapping[str, Any]) -> Progress:
        """Commit what was appended, and how far the job is."""
        progress = self._progress.advance(now, position, state, finished=False)
        self._connection.commit()
        return progress

    def finish(self, now: Progress, tally: Tally) -> None:
        """Prove that every row is in exactly one of the two tables, and note that only the names are missing.

        Raises
        ------
        TableError
            If the tables hold other rows than were counted.
        """
        found = (self.scores.count(), self.rejects.count(distinct="row"))
        if found != (tally.scored, tally.rejected):
            raise TableError(
                f"{self.scores.name}: {tally.scored:,} rows were scored and {tally.rejected:,} rejected, but the "
                f"tables hold {found[0]:,} and {found[1]:,}; nothing is published"
            )
        self._progress.advance(now, now.position, tally.to_state(), finished=True)

    def publish(self) -> None:
        """Give the tables their names and end the job."""
        self.rejects.publish()
        self.scores.publish()
        self._progress.drop()
        self._connection.commit()

    def _lock(self, table: str) -> None:
        """Let no second job write the same table while this one lives."""
        number = int.from_bytes(hashlib.sha256(table.encode()).digest()[:8], signed=True)
        try:
            self._connection.execute(sa.text(f"SET lock_timeout = '{LOCK_WAIT}'"))
            self._connection.execute(sa.text("SELECT pg_advisory_lock(:number)"), {"number": number})
            self._connection.execute(sa.text("RESET lock_timeout"))
        except sa.exc.OperationalError as error:
            raise TableError(f"{table}: another job is writing the same table") from error
        self._connection.commit()


def _choose_type(database: Database, query: Query, name: str) -> sa.types.TypeEngine[Any]:
    """Return the type of a column that is passed through: the source's where the target knows it, else text."""
    if database.can_copy and name in query.types:
        return WrittenType(query.types[name])
    return WrittenType("") if database.is_sqlite else sa.Text()
