"""Write decisions as one writer: linked, sealed by the hour, many in one transaction."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

import sqlalchemy as sa

from records import times
from records.seals import End, find_hour, read_end
from records.tables import WRITERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from records.decision import Decision
    from records.store import RecordStore


def touch_writer(connection: sa.Connection, writer: int) -> None:
    """Write something that changes nothing; this waits for a transaction of the writer that is being committed."""
    connection.execute(sa.update(WRITERS).where(WRITERS.c.writer == writer).values(writer=writer))


class Ledger:
    """A writer. After an error it goes on where the database has its end.

    Parameters
    ----------
    store : RecordStore
    name : str, optional
        Of a new writer, for people; by default the host and the process.
    writer : int, optional
        Continue this writer, whose process has ended.
    """

    def __init__(self, store: RecordStore, name: str | None = None, writer: int | None = None) -> None:
        self._store = store
        self._name = name
        self._writer = writer
        self._connection: sa.Connection | None = None
        self._end: End | None = None

    @property
    def writer(self) -> int | None:
        """The number of the writer; None before it is open."""
        return self._writer

    @property
    def sequence(self) -> int:
        """Sequence of its newest record, when it is open."""
        return 0 if self._end is None else self._end.chain.sequence

    def open(self) -> End:
        """Connect, and find or create the writer, unless that was done.

        Raises
        ------
        TableError
            If the database fails.
        """
        if self._connection is None:
            with self._store.database.explaining():
                self._connection = self._store.connect()
        if self._end is None:
            with self._store.writing(self._connection) as connection:
                if self._writer is None:
                    end = End(self._store.register(connection, self._name))
                else:
                    end = read_end(connection, self._writer)
            self._end, self._writer = end, end.chain.writer
        return self._end

    def touch(self) -> None:
        """Write something that changes nothing, to find out whether the database can be written to.

        Raises
        ------
        TableError
            If it can't.
        """
        try:
            writer = self.open().chain.writer
            with self._store.writing(self._connection) as connection:
                touch_writer(connection, writer)
        except BaseException:
            self.drop()
            raise

    def append(self, decisions: Sequence[Decision]) -> None:
        """Commit decisions in one transaction.

        Raises
        ------
        TableError
            If the database fails. They may have been committed all the same; `open` tells.
        """
        if not decisions:
            return
        moments = [one.time for one in decisions]
        first, last = min(moments), max(moments)
        try:
            end = self.open()
            self._store.prepare_months(moments)
            if find_hour(first) == find_hour(last) == end.hour and self._connection is not None:
                records, chain = end.chain.link(decisions)
                self._store.commit(self._connection, records, chain)
                end = end.advance(records, chain)
            else:
                with self._store.writing(self._connection) as connection:
                    for hour, group in groupby(decisions, lambda one: find_hour(one.time)):
                        if hour != end.hour:
                            end = end.seal(connection)
                        records, chain = end.chain.link(group)
                        self._store.insert(connection, records, chain)
                        end = end.advance(records, chain)
        except BaseException:
            self.drop()
            raise
        self._end = end

    def seal(self, *, is_last: bool = False) -> None:
        """Seal the records of an hour that is over; if `is_last`, those of the present hour, too.

        Raises
        ------
        TableError
            If the database fails.
        """
        end = self._end
        if end is None or end.is_sealed or not (is_last or find_hour(times.now()) > end.hour):
            return
        try:
            with self._store.writing(self._connection) as connection:
                end = end.seal(connection)
        except BaseException:
            self.drop()
            raise
        self._end = end

    def drop(self) -> None:
        """Close the connection, whatever its state."""
        connection, self._connection, self._end = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # of a connection that is broken already
                connection.invalidate()
                connection.close()

    def close(self) -> None:
        """Seal the records, and close the connection.

        Raises
        ------
        TableError
            If the database fails.
        """
        self.seal(is_last=True)
        self.drop()
