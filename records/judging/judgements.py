"""Store judgements, and read the last one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from churn.errors import TableError
from records import times
from records.tables import JUDGEMENTS

if TYPE_CHECKING:
    from records.store import RecordStore

Judgement = dict[str, Any]
"""Plain data, as it is stored and as `GET /performance` returns it; see `records.judging.judge.judge`."""

FORM = 1
"""Version of the form of a judgement."""

KEPT = 100
"""Judgements that are kept; older ones are removed when one is added."""


def save_judgement(store: RecordStore, judgement: Judgement) -> None:
    """Add a judgement.

    Raises
    ------
    TableError
        If the database fails.
    """
    text = json.dumps(judgement, allow_nan=False, separators=(",", ":"))
    with store.writing() as connection:
        if not store.database.is_sqlite:  # where a transaction that writes is alone anyway
            connection.exec_driver_sql("LOCK TABLE churn_judgements IN SHARE ROW EXCLUSIVE MODE")
        number = int(connection.execute(sa.select(sa.func.max(JUDGEMENTS.c.number))).scalar() or 0) + 1
        connection.execute(sa.insert(JUDGEMENTS).values(number=number, time=times.now(), judgement=text))
        connection.execute(sa.delete(JUDGEMENTS).where(JUDGEMENTS.c.number <= number - KEPT))


def read_judgement(store: RecordStore, after: int = 0) -> tuple[int, Judgement] | None:
    """Return the newest judgement with its number; None if there is none with a number above `after`.

    Raises
    ------
    TableError
        If the database fails, or the judgement is of a program that writes another form.
    """
    query = sa.select(JUDGEMENTS.c.number, JUDGEMENTS.c.judgement).where(JUDGEMENTS.c.number > after)
    with store.reading() as connection:
        row = connection.execute(query.order_by(JUDGEMENTS.c.number.desc()).limit(1)).first()
    if row is None:
        return None
    found: Judgement = json.loads(row.judgement)
    if found.get("form") != FORM:
        raise TableError(
            f"the last judgement has form {found.get('form')}, which this program does not know; judge again, or use "
            "the version of churn that made it"
        )
    return row.number, found
