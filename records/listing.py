"""List what a store has besides records: seals, and whole batch jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError
from records import times
from records.journal import list_entries
from records.seals import Seal, select_seals
from records.tables import SEALS

if TYPE_CHECKING:
    from records.store import RecordStore


def list_seals(store: RecordStore) -> list[Seal]:
    """Return all seals, by writer.

    Raises
    ------
    TableError
        If the database fails.
    """
    with store.reading() as connection:
        rows = connection.execute(select_seals().order_by(SEALS.c.writer, SEALS.c.number))
        return [Seal._make(row) for row in rows]


def list_jobs(store: RecordStore) -> list[dict[str, Any]]:
    """Return the batch jobs that were recorded as a whole, each with the number of its entry in the journal.

    Raises
    ------
    TableError
        If the database fails.
    """
    with store.reading() as connection:
        return [
            {"entry": one.number, "recorded": times.show(one.time)} | json.loads(one.detail)
            for one in list_entries(connection, "job")
        ]


def find_job(store: RecordStore, entry: int) -> dict[str, Any]:
    """Return the batch job with a number, as `list_jobs` does.

    Raises
    ------
    ChurnError
        If that entry of the journal is none.
    TableError
        If the database fails.
    """
    for job in list_jobs(store):
        if job["entry"] == entry:
            return job
    raise ChurnError(f"entry {entry} of the journal is not a batch job; `churn records jobs` lists them")
