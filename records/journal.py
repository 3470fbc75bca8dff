"""The journal: new writers, whole batch jobs and what was removed, as a hash chain of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from records import times
from records.chain import follow
from records.tables import JOURNAL, WRITERS

if TYPE_CHECKING:
    from collections.abc import Mapping

JOURNAL_WRITER = 0
"""Row of the journal's end among the writers."""


class Entry(NamedTuple):
    """An entry of the journal.

    Attributes
    ----------
    number : int
        From 1.
    time : int
    kind : str
    detail : str
        As JSON.
    hash : bytes
    """

    number: int
    time: int
    kind: str
    detail: str
    hash: bytes


def hash_entry(before: bytes, entry: Entry) -> bytes:
    """Return the hash that an entry must have after the one before it."""
    return follow(before, entry[:4])


def append_entry(connection: sa.Connection, kind: str, detail: Mapping[str, Any]) -> Entry:
    """Append an entry.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Of `RecordStore.writing`.
    kind : {"writer", "job", "erase", "prune", "outcomes"}
    detail : mapping
        Serialisable as JSON.
    """
    end = sa.select(WRITERS.c.sequence, WRITERS.c.hash).where(WRITERS.c.writer == JOURNAL_WRITER).with_for_update()
    number, before = connection.execute(end).one()
    text = json.dumps(detail, ensure_ascii=False, separators=(",", ":"))
    entry = Entry(number + 1, times.now(), kind, text, b"")
    entry = entry._replace(hash=hash_entry(before, entry))
    connection.execute(sa.insert(JOURNAL).values(entry._asdict()))
    connection.execute(
        sa.update(WRITERS).where(WRITERS.c.writer == JOURNAL_WRITER).values(sequence=entry.number, hash=entry.hash)
    )
    return entry


def list_entries(connection: sa.Connection, kind: str | None = None) -> list[Entry]:
    """Return the entries in their order, of one kind or all."""
    query = sa.select(*(JOURNAL.c[name] for name in Entry._fields)).order_by(JOURNAL.c.number)
    if kind is not None:
        query = query.where(JOURNAL.c.kind == kind)
    return [Entry._make(row) for row in connection.execute(query)]
