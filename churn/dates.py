"""Parse dates in tables to days since 1970-01-01.

A column has one date format, which is detected on the whole column; ISO 8601 is always accepted as well. A time of day
after a date is ignored.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

Days = TypeVar("Days", int, "NDArray[np.int64]")
DatePart = Literal["month", "weekday"]

ISO = "%Y-%m-%d"

_EPOCH = date(1970, 1, 1).toordinal()
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TURN = 69
"""Two-digit years below this are in the 2000s, others in the 1900s, as in POSIX."""

_PARTS = {
    "%d": r"(?P<day>\d{1,2})",
    "%m": r"(?P<month>\d{1,2})",
    "%b": r"(?P<name>[A-Za-z]{3,9})\.?",
    "%Y": r"(?P<year>\d{4})",
    "%y": r"(?P<year>\d{2})",
}
_TIME = r"(?:(?:[T ]|, )\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?)?(?:Z| ?UTC|[+-]\d{2}:?\d{2})?"

_ORDERS = (("%d", "%m"), ("%m", "%d"))
FORMATS = (
    ISO,
    "%Y/%m/%d",
    "%Y.%m.%d",
    *(sign.join((*order, year)) for sign, order, year in product("/-.", _ORDERS, ("%Y", "%y"))),
    *(sign.join(("%d", "%b", year)) for sign, year in product("- /", ("%Y", "%y"))),
    "%b %d, %Y",
    "%b %d %Y",
)
"""Date formats of `datetime.strptime`."""


class DetectedFormat(NamedTuple):
    """Detected format of a date column.

    Attributes
    ----------
    format : str or None
        One of `FORMATS`; None if the values are not dates or the format is ambiguous.
    choices : tuple of str
        All matching formats; several if the format is ambiguous.
    """

    format: str | None
    choices: tuple[str, ...]


def parse_date(text: str, form: str) -> float:
    """Return the number of days since 1970-01-01.

    Parameters
    ----------
    text : str
        A date in the given format or in ISO 8601.
    form : str
        One of `FORMATS`.

    Raises
    ------
    ValueError
        If the text is not such a date.
    """
    days = read_date(text, form)
    if days is None:
        raise ValueError(text)
    return days


def count_days(value: date) -> float:
    """Return the number of days since 1970-01-01 of a date or datetime."""
    return float(value.toordinal() - _EPOCH)


def write_date(days: float) -> str:
    """Return a number of days since 1970-01-01 as a date in ISO 8601."""
    return date.fromordinal(int(days) + _EPOCH).isoformat()


def read_month(days: Days) -> Days:
    """Return the month, 1 to 12, of days since 1970-01-01, for an integer or an array of them.

    The arithmetic of Hinnant (2021), "chrono-compatible low-level date algorithms": it needs no calendar object, so
    rows and columns are computed alike.
    """
    era = (days + 719_468) % 146_097  # days since 1 March in a cycle of 400 years
    year = (era - era // 1_460 + era // 36_524 - era // 146_096) // 365
    day = era - (365 * year + year // 4 - year // 100)
    month: Days = ((5 * day + 2) // 153 + 2) % 12 + 1
    return month


def read_weekday(days: Days) -> Days:
    """Return the day of the week, 1 (Monday) to 7, of days since 1970-01-01, for an integer or an array of them."""
    return (days + 3) % 7 + 1


DATE_PARTS: Mapping[DatePart, Callable[..., Any]] = {"month": read_month, "weekday": read_weekday}
"""What recurs in a date, with the function that reads it from the days."""


def describe_format(form: str) -> str:
    """Return a date format for messages, such as ``dd/mm/yyyy``."""
    words = {"%d": "dd", "%m": "mm", "%b": "mon", "%Y": "yyyy", "%y": "yy"}
    for part, word in words.items():
        form = form.replace(part, word)
    return form


def read_date(text: str, form: str) -> float | None:
    """Return the result of `parse_date`, or None if the text is not such a date."""
    days = _make_reader(form)(text)
    return _make_reader(ISO)(text) if days is None and form != ISO else days


@lru_cache(maxsize=len(FORMATS))
def _make_reader(form: str) -> Callable[[str], float | None]:
    """Return a function that parses a date to days, or returns None."""
    pattern = re.escape(form).replace(r"\ ", " ")
    for part, group in _PARTS.items():
        pattern = pattern.replace(part, group)
    match = re.compile(pattern + _TIME).fullmatch

    def read(text: str) -> float | None:
        found = match(text) if text.isascii() else None
        if found is None:
            return None
        groups = found.groupdict()
        year = int(groups["year"])
        if len(groups["year"]) == 2:
            year += 2000 if year < _TURN else 1900
        try:
            month = int(groups["month"]) if "month" in groups else 1 + _MONTHS.index(groups["name"][:3].lower())
            return float(date(year, month, int(groups["day"])).toordinal() - _EPOCH)
        except ValueError:  # invalid day or month
            return None

    return read
