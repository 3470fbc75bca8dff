"""Times of the store: whole microseconds since 1970, in UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from churn.errors import TableError

SECOND = 1_000_000
HOUR = 3600 * SECOND

_SPANS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

_match_age = re.compile(r"([0-9]{1,6})(h|d|w|mo|y)").fullmatch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

EARLIEST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
"""Times that a `datetime` can have."""


def now() -> int:
    """Return the present time."""
    return time.time_ns() // 1000


def from_datetime(moment: datetime) -> int:
    """Return a time of the store; a moment without a time zone is in UTC."""
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_datetime(moment: int) -> datetime:
    """Return the moment in UTC."""
    return _EPOCH + timedelta(microseconds=moment)


def parse(text: str) -> int:
    """Return the time that a text names: a date, a date with a time in ISO 8601, or an age such as ``30d``.

    Parameters
    ----------
    text : str
        Without a time zone it is in UTC. Ages have a unit: h, d, w, mo or y; months and years are those of the
        calendar.

    Raises
    ------
    TableError
        If it is none of these.
    """
    try:
        if (age := _match_age(text)) is None:
            return from_datetime(datetime.fromisoformat(text))
        count, unit = int(age[1]), age[2]
        moment = to_datetime(now())
        if unit in _SPANS:
            return from_datetime(moment - count * _SPANS[unit])
        months = moment.year * 12 + moment.month - 1 - count * (12 if unit == "y" else 1)
        return from_datetime(_in_month(moment, months // 12, months % 12 + 1))
    except (ValueError, OverflowError):
        raise TableError(
            f"{text!r} is not a time; allowed: 2026-03-01, 2026-03-01T12:00, 12h, 30d, 8w, 6mo, 2y"
        ) from None


def _in_month(moment: datetime, year: int, month: int) -> datetime:
    """Return the same day and time in another month, or its last day."""
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month, day=day)
        except ValueError:
            continue
    return moment.replace(year=year, month=month)


def show(moment: int) -> str:
    """Return a time as in ``2026-11-30T23:59:59.123456Z``."""
    return to_datetime(moment).isoformat(timespec="microseconds").replace("+00:00", "Z")


def find_month(moment: int) -> tuple[int, int]:
    """Return the beginning of the month of a time, and of the next one."""
    first = to_datetime(moment).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return from_datetime(first), from_datetime((first + timedelta(days=32)).replace(day=1))
