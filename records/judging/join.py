"""Join records with outcomes.

Of each customer, the first record of a month is judged, whatever was scored afterwards: the choice depends on no
outcome, and nobody counts twice in a month. A customer left if there is an outcome that says so, dated from the day
of the record to `horizon` days later. It stayed if an outcome says that it was still a customer when the horizon
ended or later, or that it left only after that. Otherwise what became of it is unknown, and it is not judged. Neither
is a record whose horizon ends after the newest of all outcomes, because of those only who left is known.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from records import times
from records.tables import OUTCOMES, RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from records.store import RecordStore

    InputReader = Callable[[Sequence[str | None], Sequence[str | None]], NDArray[np.float64]]

DAY = 24 * times.HOUR

FETCHED_ROWS = 50_000
"""Records that are fetched at once."""

RULE = (
    "Judged is the first record of each customer in a month. The customer left if an outcome from the day of the "
    "record to {days} days later says so, and stayed if an outcome at the end of these days or later says that it was "
    "still a customer, or left only then. Customers of whom neither is known are not judged, nor are records whose "
    "days end after the newest outcome."
)

_KNOWN = """max(CASE
        WHEN o.churned AND o.day <= r.time / {day} + {horizon} THEN 2
        WHEN o.churned OR o.day >= r.time / {day} + {horizon} THEN 1
        ELSE 0 END)"""

_COLUMNS = "r.time, r.writer, r.sequence, r.customer_id, r.probability, r.churn, r.model_version"

_RANGE = "r.time >= {since} AND r.time < {until} AND r.customer_id IS NOT NULL"

# SQLite looks up the outcomes of each record; PostgreSQL hashes both tables, in half the time of looking up.
_SQLITE = f"""
SELECT {_COLUMNS}, (
    SELECT {_KNOWN} FROM churn_outcomes o WHERE o.customer_id = r.customer_id AND o.day >= r.time / {{day}}
), {{input}}
FROM churn_records r WHERE {_RANGE}
"""  # noqa: S608  constants and whole numbers

_POSTGRESQL = f"""
SELECT {_COLUMNS}, {_KNOWN}, {{input}}
FROM churn_records r
LEFT JOIN churn_outcomes o ON o.customer_id = r.customer_id AND o.day >= r.time / {{day}}
WHERE {_RANGE} GROUP BY r.writer, r.sequence, r.time
"""  # noqa: S608  likewise

_LABELS = {2: 1.0, 1: 0.0, 0: np.nan, None: np.nan}
"""Of the numbers in the query: left, stayed, still a customer before the horizon ended, no outcome."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Customers of a month, each once, in the order of their records.

    Attributes
    ----------
    customers : ndarray of int64, shape (n,)
        A number for each customer (a hash of 64 bits), the same in all months of a process.
    probabilities : ndarray of float64, shape (n,)
    selected : ndarray of bool, shape (n,)
        Decisions.
    labels : ndarray of float64, shape (n,)
        1 if the customer left, 0 if it stayed, NaN if that is not known.
    is_over : ndarray of bool, shape (n,)
        Whether the horizon was over on the last day of which outcomes are known.
    days : ndarray of int64, shape (n,)
        Of the records, since 1970-01-01.
    versions : ndarray of int64, shape (n,)
        Position among `version_names`.
    version_names : tuple of str
    raw : ndarray of float64, shape (n, columns)
        What `read_input` made of the inputs.
    """

    customers: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    selected: NDArray[np.bool_]
    labels: NDArray[np.float64]
    is_over: NDArray[np.bool_]
    days: NDArray[np.int64]
    versions: NDArray[np.int64]
    version_names: tuple[str, ...]
    raw: NDArray[np.float64]

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """Whether the horizon is over and the outcome is known, shape (n,)."""
        judged: NDArray[np.bool_] = self.is_over & ~np.isnan(self.labels)
        return judged


def list_months(store: RecordStore, most: int, until: int) -> list[tuple[int, int]]:
    """Return beginning and end of the newest months with records before a time, the oldest first.

    Raises
    ------
    TableError
        If the database fails.
    """
    months: list[tuple[int, int]] = []
    with store.reading() as connection:
        while len(months) < most:
            newest = sa.select(sa.func.max(RECORDS.c.time)).where(RECORDS.c.time < until)
            if (time := connection.execute(newest).scalar()) is None:
                break
            until, end = times.find_month(time)
            months.append((until, end))
    return months[::-1]


def find_newest_day(store: RecordStore) -> int:
    """Return the newest day of all outcomes, since 1970-01-01; -1 if there are none.

    Raises
    ------
    TableError
        If the database fails.
    """
    with store.reading() as connection:
        newest = connection.execute(sa.select(sa.func.max(OUTCOMES.c.day))).scalar()
    return -1 if newest is None else int(newest)


def join_month(
    store: RecordStore,
    since: int,
    until: int,
    horizon: int,
    today: int,
    read_input: InputReader | None = None,
) -> Joined:
    """Return the customers with a record in a time, with what became of them.

    Parameters
    ----------
    store : RecordStore
    since, until : int
        Earliest time, and the first one that is too late.
    horizon : int
        In days.
    today : int
        Last day since 1970-01-01 of which outcomes are known.
    read_input : callable, optional
        Maps the columns `input` and `read_as` to numbers, shape (n, columns).

    Raises
    ------
    TableError
        If the database fails.
    """
    collector = _Collector(horizon, today, read_input)
    form = _SQLITE if store.database.is_sqlite else _POSTGRESQL
    query = form.format(
        since=since, until=until, day=DAY, horizon=horizon, input="r.input, r.read_as" if read_input else "NULL, NULL"
    )
    with store.reading() as connection:
        # The driver is called directly: SQLAlchemy's rows take as long as the database.
        driver: Any = connection.connection.driver_connection
        with closing(driver.cursor() if store.database.is_sqlite else driver.cursor(name="churn_judging")) as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(FETCHED_ROWS):
                collector.add(rows)
    return collector.finish()


class _Collector:
    """Collects the rows of the query, and keeps the first one of each customer."""

    def __init__(self, horizon: int, today: int, read_input: InputReader | None) -> None:
        self._horizon = horizon
        self._today = today
        self._read_input = read_input
        self._names: dict[str, int] = {}
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self.add([])

    def add(self, rows: Sequence[Any]) -> None:
        """Add rows, in any order."""
        columns = list(zip(*rows, strict=True)) if rows else [()] * 10
        moments, writers, sequences, customers, probabilities, selected, versions, known, inputs, forms = columns
        names = self._names
        self._parts.append(
            (
                np.array(moments, np.int64),
                np.array(writers, np.int64),
                np.array(sequences, np.int64),
                np.fromiter(map(hash, customers), np.int64, len(rows)),
                np.array(probabilities, np.float64),
                np.array(selected, bool),
                np.array([_LABELS[one] for one in known], np.float64),
                np.array([names.setdefault(version, len(names)) for version in versions], np.int64),
                self._read_input(inputs, forms) if self._read_input else np.zeros((len(rows), 0)),
            )
        )

    def finish(self) -> Joined:
        """Return the first row of each customer."""
        arrays = [np.concatenate(each) for each in zip(*self._parts, strict=True)]
        moments, writers, sequences, customers = arrays[:4]
        order = np.lexsort((sequences, writers, moments))
        # By time, because hashes are others in the next process.
        first = order[np.sort(np.unique(customers[order], return_index=True)[1])]
        moments, _, _, customers, probabilities, selected, labels, versions, raw = (each[first] for each in arrays)
        days = moments // DAY
        is_over = days + self._horizon <= self._today
        return Joined(customers, probabilities, selected, labels, is_over, days, versions, tuple(self._names), raw)
