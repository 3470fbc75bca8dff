"""Write outcomes to the store, and read them again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from churn.dates import write_date
from records import times
from records.decision import seek_customer
from records.journal import append_entry
from records.tables import OUTCOMES

if TYPE_CHECKING:
    from records.judging.outcome_file import OutcomeTable
    from records.store import RecordStore

LOADED_ROWS = 20_000
"""Outcomes that are written in one transaction, so that the service waits a moment only."""

_STAGE = sa.Table(
    "churn_loading",
    sa.MetaData(),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("churned", sa.Boolean, nullable=False),
    prefixes=["TEMPORARY"],
)

_CREATE = """
CREATE TEMPORARY TABLE churn_loading (customer_id text, day integer, churned boolean, PRIMARY KEY (customer_id, day))
"""

_COUNT = """
SELECT count(*) FROM churn_loading s JOIN churn_outcomes o ON o.customer_id = s.customer_id AND o.day = s.day
"""

_MERGE = """
INSERT INTO churn_outcomes (customer_id, day, churned, loaded)
SELECT customer_id, day, churned, :now FROM churn_loading WHERE true
ON CONFLICT (customer_id, day) DO UPDATE SET
    churned = excluded.churned,
    loaded = excluded.loaded,
    corrections = coalesce(churn_outcomes.corrections || :newline, '')
        || '{"churned": ' || CASE WHEN churn_outcomes.churned THEN 'true' ELSE 'false' END
        || ', "loaded": ' || churn_outcomes.loaded || '}'
WHERE churn_outcomes.churned <> excluded.churned
"""


class Loaded(NamedTuple):
    """What became of the rows of a table of outcomes.

    Attributes
    ----------
    new : int
        Customers and days that were not known before.
    same : int
        Those that were known, and are repeated by the table or the store.
    corrected : int
        Those of which the opposite was known. It is kept as a correction.
    """

    new: int
    same: int
    corrected: int


class Outcome(NamedTuple):
    """What is known of a customer on a day.

    Attributes
    ----------
    date : str
        In ISO 8601.
    churned : bool
        Whether the customer left on this day; otherwise it was still a customer.
    loaded : str
    corrections : list of dict
        What was known before, the oldest first: ``churned`` and ``loaded``.
    """

    date: str
    churned: bool
    loaded: str
    corrections: list[dict[str, object]]


def load_outcomes(store: RecordStore, table: OutcomeTable) -> Loaded:
    """Add a table of outcomes to the store, and note it in the journal.

    Adding it again changes nothing but the journal, also after an interruption.

    Parameters
    ----------
    store : RecordStore
    table : OutcomeTable

    Raises
    ------
    TableError
        If the database fails; a part may be loaded.
    """
    now = times.now()
    new = same = corrected = 0
    for start in range(0, len(table.customers), LOADED_ROWS):
        part = slice(start, start + LOADED_ROWS)
        rows = zip(table.customers[part], table.days[part].tolist(), table.left[part].tolist(), strict=True)
        staged = [{"customer_id": customer, "day": day, "churned": left} for customer, day, left in rows]
        with store.writing() as connection:
            connection.exec_driver_sql(_CREATE)
            connection.execute(sa.insert(_STAGE), staged)
            known = connection.execute(sa.text(_COUNT)).scalar_one()
            opposite = connection.execute(sa.text(f"{_COUNT} WHERE o.churned <> s.churned")).scalar_one()
            connection.execute(sa.text(_MERGE), {"now": now, "newline": "\n"})
            connection.exec_driver_sql("DROP TABLE churn_loading")
        new += len(staged) - known
        same += known - opposite
        corrected += opposite
    loaded = Loaded(new, same + table.rows - table.faulty - len(table.customers), corrected)
    detail = {
        "file": table.name,
        "sha256": table.sha256,
        "rows": table.rows,
        "faulty": table.faulty,
        **loaded._asdict(),
    }
    with store.writing() as connection:
        append_entry(connection, "outcomes", detail)
    return loaded


def find_outcomes(store: RecordStore, customer: str | int) -> list[Outcome]:
    """Return what is known of a customer, by date.

    Raises
    ------
    QuestionError
        If the customer is no text.
    TableError
        If the database fails.
    """
    query = sa.select(OUTCOMES).where(OUTCOMES.c.customer_id == seek_customer(customer)).order_by(OUTCOMES.c.day)
    with store.reading() as connection:
        return [
            Outcome(
                write_date(row.day),
                row.churned,
                times.show(row.loaded),
                [_show(json.loads(line)) for line in (row.corrections or "").splitlines()],
            )
            for row in connection.execute(query)
        ]


def _show(correction: dict[str, object]) -> dict[str, object]:
    return {**correction, "loaded": times.show(int(str(correction["loaded"])))}
