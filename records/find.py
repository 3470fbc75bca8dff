"""Find records again: of a customer, of a request, or of a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from records.decision import QuestionError, check_text, seek_customer
from records.store import select_records, to_record
from records.tables import RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from records.decision import Record
    from records.store import RecordStore

MAX_PAGE = 100
"""Maximum number of records that `find` returns at once."""

SCAN_ROWS = 10_000
"""Records that `select` reads at once."""

_LARGEST = 2**63 - 1

_ORDER = (RECORDS.c.time, RECORDS.c.writer, RECORDS.c.sequence)


class Page(NamedTuple):
    """Some of the records that were looked for, the newest first.

    Attributes
    ----------
    records : list of Record
    next : str or None
        Cursor of the next page; None if this is the last one.
    """

    records: list[Record]
    next: str | None


def find(
    store: RecordStore,
    *,
    customer: str | int | None = None,
    request: str | None = None,
    since: int | None = None,
    until: int | None = None,
    limit: int = MAX_PAGE,
    cursor: str | None = None,
) -> Page:
    """Return records of a customer, of a request, or of both, the newest first.

    Parameters
    ----------
    store : RecordStore
    customer : str or int, optional
    request : str, optional
        Identifier of the request.
    since, until : int, optional
        Earliest time, and the first one that is too late, in microseconds since 1970.
    limit : int
        Maximum number of records.
    cursor : str, optional
        Of the page before.

    Raises
    ------
    QuestionError
        If the cursor is none, or the customer or request is no text.
    TableError
        If the database fails.
    """
    query = _choose(customer, request, since, until)
    query = query.order_by(*(column.desc() for column in _ORDER)).limit(limit + 1)
    if cursor is not None:
        query = query.where(sa.tuple_(*_ORDER) < sa.tuple_(*_read_cursor(cursor)))
    with store.reading() as connection:
        found = [to_record(row) for row in connection.execute(query)]
    if len(found) <= limit:
        return Page(found, None)
    last = found[limit - 1]
    return Page(found[:limit], f"{last.time}-{last.writer}-{last.sequence}")


def select(
    store: RecordStore,
    *,
    customer: str | int | None = None,
    request: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Iterator[list[Record]]:
    """Yield the records that are looked for as in `find`, but all of them, the oldest first, up to `SCAN_ROWS` at once.

    Raises
    ------
    QuestionError
        If the customer or request is no text.
    TableError
        If the database fails.
    """
    query = _choose(customer, request, since, until).order_by(*_ORDER)
    with store.reading() as connection:
        rows = connection.execution_options(stream_results=True, max_row_buffer=SCAN_ROWS).execute(query)
        for part in rows.partitions(SCAN_ROWS):
            yield list(map(to_record, part))


def _choose(
    customer: str | int | None, request: str | None, since: int | None, until: int | None
) -> sa.Select[tuple[object, ...]]:
    query = select_records()
    if customer is not None:
        query = query.where(RECORDS.c.customer_id == seek_customer(customer))
    if request is not None:
        query = query.where(RECORDS.c.request_id == check_text(request, "the request"))
    if since is not None:
        query = query.where(RECORDS.c.time >= since)
    if until is not None:
        query = query.where(RECORDS.c.time < until)
    return query


def _read_cursor(cursor: str) -> tuple[int, ...]:
    parts = cursor.split("-")
    if len(parts) != len(_ORDER) or not all(part.isascii() and part.isdecimal() and len(part) < 20 for part in parts):
        raise QuestionError("the cursor is invalid; allowed: the cursor of the previous page")
    numbers = tuple(map(int, parts))
    if max(numbers) > _LARGEST:  # which a database can't compare with
        raise QuestionError("the cursor is invalid; allowed: the cursor of the previous page")
    return numbers
