"""Progress of a job: one row in a separate table, written in the same transaction as the scored rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from batch.sql.query import Position, read_key, write_key
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIX = "__progress"


@dataclass(frozen=True, slots=True)
class Progress:
    """Content of the row.

    Attributes
    ----------
    step : int
        Number of transactions so far.
    position : Position
        Position up to which rows are done.
    finished : bool
        Whether all rows are written and only the renaming is left.
    state : mapping
        The counts so far, from `Tally.to_state`.
    """

    step: int
    position: Position
    finished: bool
    state: Mapping[str, Any]


class ProgressTable:
    """The table ``OUTPUT__progress``, which exists while a job is unfinished.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection of the writer. Not committed here.
    output : str
        ``table`` or ``schema.table``.
    """

    def __init__(self, connection: sa.Connection, output: str) -> None:
        schema, _, bare = output.rpartition(".")
        self._connection = connection
        self.name = output + SUFFIX
        self._table = sa.Table(
            bare + SUFFIX,
            sa.MetaData(),
            sa.Column("job", sa.Text, nullable=False),
            sa.Column("step", sa.BigInteger, nullable=False),
            sa.Column("nulls_done", sa.Boolean, nullable=False),
            sa.Column("last_key", sa.Text),
            sa.Column("finished", sa.Boolean, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
            schema=schema or None,
        )

    @property
    def exists(self) -> bool:
        """Whether there is an unfinished job."""
        return bool(sa.inspect(self._connection).has_table(self._table.name, schema=self._table.schema))

    def create(self, job: Mapping[str, Any], state: Mapping[str, Any]) -> Progress:
        """Create the table for a new job."""
        self._table.create(self._connection)
        row = {"job": json.dumps(job), "step": 0, "nulls_done": False, "finished": False, "state": json.dumps(state)}
        self._connection.execute(sa.insert(self._table), row)
        return Progress(0, Position(), finished=False, state=state)

    def read(self, job: Mapping[str, Any]) -> Progress:
        """Return the progress of the job.

        Raises
        ------
        TableError
            If the job is a different one; the message says what differs.
        """
        row = self._connection.execute(sa.select(self._table)).one()
        begun = json.loads(row.job)
        differing = [name for name in job if begun.get(name) != job[name]]
        if differing:
            shown = "; ".join(f"{name} was {begun.get(name)!r} and is {job[name]!r}" for name in differing)
            raise TableError(f"{self.name}: the job differs and can't be resumed: {shown}")
        key = None if row.last_key is None else read_key(row.last_key)
        return Progress(row.step, Position(row.nulls_done, key), row.finished, json.loads(row.state))

    def advance(self, now: Progress, position: Position, state: Mapping[str, Any], *, finished: bool) -> Progress:
        """Write the progress since `now`.

        Raises
        ------
        TableError
            If the row was changed by another job that writes the same table.
        """
        changed = self._connection.execute(
            sa.update(self._table)
            .where(self._table.c.step == now.step)
            .values(
                step=now.step + 1,
                nulls_done=position.nulls,
                last_key=None if position.key is None else write_key(position.key),
                finished=finished,
                state=json.dumps(state),
            )
        )
        if changed.rowcount != 1:
            raise TableError(f"{self.name}: another job is writing the same table; stop one of the jobs")
        return Progress(now.step + 1, position, finished, state)

    def drop(self) -> None:
        """Drop the table after the job is done."""
        self._table.drop(self._connection, checkfirst=True)
