"""Remove records: old ones, and the data of one customer. The chains go on to verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from records import times
from records.decision import seek_customer
from records.journal import JOURNAL_WRITER, append_entry
from records.partitions import drop_empty
from records.seals import read_end
from records.tables import OUTCOMES, RECORDS, WRITERS

if TYPE_CHECKING:
    from records.store import RecordStore

PRUNE_ROWS = 5_000
"""Records that are removed in one transaction, so that writers wait a moment only."""


def erase(store: RecordStore, customer: str | int) -> int:
    """Erase identifier, input and reasons of a customer's records, and the customer's outcomes.

    What was decided, when and by what stays. The journal says which records were erased, not whose they were.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    QuestionError
        If the customer is no text.
    TableError
        If the database fails.
    """
    name = seek_customer(customer)
    chosen = RECORDS.c.customer_id == name
    found: dict[str, list[int]] = {}
    with store.writing() as connection:
        if store.database.is_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # otherwise the text stays in the file
        place = (RECORDS.c.writer, RECORDS.c.sequence)
        for writer, sequence in connection.execute(sa.select(*place).where(chosen).order_by(*place)):
            found.setdefault(str(writer), []).append(sequence)
        if found:
            connection.execute(
                sa.update(RECORDS).where(chosen).values(customer_id=None, input=None, reasons=None, salt=None)
            )
            append_entry(connection, "erase", {"records": found})
        connection.execute(sa.delete(OUTCOMES).where(OUTCOMES.c.customer_id == name))
    if store.database.is_sqlite:
        with store.database.explaining(), store.connect() as connection:
            driver: Any = connection.connection.driver_connection  # outside a transaction, in which it can't be done
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sum(map(len, found.values()))


def prune(store: RecordStore, before: int) -> int:
    """Remove the records before a time; their seals stay.

    Each chain then starts after the last one removed. Records after one that is not old enough stay, which happens if
    a clock was set back.

    Parameters
    ----------
    store : RecordStore
    before : int
        In microseconds since 1970.

    Returns
    -------
    int
        Number of records.

    Raises
    ------
    TableError
        If the database fails. Calling it again goes on.
    """
    with store.reading() as connection:
        query = sa.select(WRITERS.c.writer).where(WRITERS.c.writer != JOURNAL_WRITER).order_by(WRITERS.c.writer)
        writers = list(connection.execute(query).scalars())
    plan: dict[int, tuple[int, str]] = {}
    with store.writing() as connection:
        for writer in writers:
            if (end := _find_end(connection, writer, before)) is not None:
                plan[writer] = end
        if plan:
            append_entry(connection, "prune", {"before": times.show(before), "writers": plan})
    if store.database.is_sqlite:
        return sum(_remove_in_parts(store, writer, last) for writer, (last, _) in plan.items())
    with store.writing() as connection:
        removed = sum(_remove(connection, writer, last) for writer, (last, _) in plan.items())
        drop_empty(connection, before)
    return removed


def _find_end(connection: sa.Connection, writer: int, before: int) -> tuple[int, str] | None:
    """Return sequence and hash of the last record of a writer that is to be removed, or None; seal it."""
    own = RECORDS.c.writer == writer
    end = connection.execute(sa.select(WRITERS).where(WRITERS.c.writer == writer)).one()
    stays = sa.select(sa.func.min(RECORDS.c.sequence)).where(own, RECORDS.c.time >= before)
    first = connection.execute(stays).scalar()
    last = end.sequence if first is None else first - 1
    if last <= end.pruned:
        return None
    if read_end(connection, writer).first <= last:  # of a process that was killed, or is idle; it notices
        read_end(connection, writer).seal(connection)
    found = connection.execute(sa.select(RECORDS.c.hash).where(own, RECORDS.c.sequence == last)).scalar_one()
    return last, bytes(found).hex()


def _remove_in_parts(store: RecordStore, writer: int, last: int) -> int:
    """Remove the records of a writer in short transactions: there is one writer of SQLite at a time."""
    removed = 0
    while True:
        with store.writing() as connection:
            pruned = connection.execute(sa.select(WRITERS.c.pruned).where(WRITERS.c.writer == writer)).scalar_one()
            if pruned >= last:
                return removed
            removed += _remove(connection, writer, min(pruned + PRUNE_ROWS, last))


def _remove(connection: sa.Connection, writer: int, last: int) -> int:
    """Let a chain start after a record, and remove what is before it; return the number of records."""
    own = RECORDS.c.writer == writer
    head = sa.select(RECORDS.c.hash).where(own, RECORDS.c.sequence == last)
    values: dict[str, Any] = {"pruned": last, "pruned_hash": connection.execute(head).scalar_one()}
    connection.execute(sa.update(WRITERS).where(WRITERS.c.writer == writer).values(values))
    return connection.execute(sa.delete(RECORDS).where(own, RECORDS.c.sequence <= last)).rowcount
