"""Dates of every form: read right, or refused."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.dates import FORMATS, ISO, count_days, describe_format, parse_date, write_date

DAYS = st.dates(min_value=date(1970, 1, 1), max_value=date(2068, 12, 31))


@pytest.mark.parametrize("form", FORMATS)
@given(day=DAYS)
def test_a_date_is_read_back_in_every_form(form: str, day: date) -> None:
    days = (day - date(1970, 1, 1)).days
    assert parse_date(day.strftime(form), form) == days == count_days(day)
    assert parse_date(day.isoformat(), form) == days, "ISO 8601 is read besides"
    assert write_date(days) == day.isoformat()


@pytest.mark.parametrize(
    ("text", "form", "day"),
    [
        ("07-11-12", "%d-%m-%y", "2012-11-07"),
        ("07-11-12", "%m-%d-%y", "2012-07-11"),
        ("7/1/2012", "%d/%m/%Y", "2012-01-07"),
        ("31.12.99", "%d.%m.%y", "1999-12-31"),
        ("31.12.68", "%d.%m.%y", "2068-12-31"),
        ("7-nov-2012", "%d-%b-%Y", "2012-11-07"),
        ("7 November 2012", "%d %b %Y", "2012-11-07"),
        ("NOV 7, 2012", "%b %d, %Y", "2012-11-07"),
        ("07/11/2012 13:45", "%d/%m/%Y", "2012-11-07"),
        ("07/11/2012 1:45:00 PM", "%d/%m/%Y", "2012-11-07"),
        ("2012-11-07T23:59:59.999Z", ISO, "2012-11-07"),
        ("2012-11-07 00:00:00.000000000", ISO, "2012-11-07"),
        ("2012-11-07T00:00:00+02:00", ISO, "2012-11-07"),
        ("1900-02-28", ISO, "1900-02-28"),
        ("9999-12-31", ISO, "9999-12-31"),
    ],
)
def test_a_form_says_what_is_the_day_and_a_time_is_ignored(text: str, form: str, day: str) -> None:
    assert write_date(parse_date(text, form)) == day


@pytest.mark.parametrize(
    "text",
    ["", "x", "31-02-2012", "2012-13-01", "00-01-2012", "01-00-2012", "2012-1-1x", "0000-01-01", "1-1-1",
     "\u0660\u0667-11-2012", "07/11/2012", "20121107", "2012-11", "7-Nov-2012", "2012-11-07T", "07-11-2012 noon"],
)  # fmt: skip
def test_what_is_no_date_of_that_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^.*$"):
        parse_date(text, "%d-%m-%Y")


def test_a_time_of_python_counts_as_its_day() -> None:
    assert count_days(datetime(1970, 1, 2, 23, 59)) == 1


def test_days_are_counted_as_numpy_counts_them() -> None:
    day = date(1950, 1, 1)
    for step in range(0, 40_000, 97):
        moved = day + timedelta(days=step)
        assert count_days(moved) == np.datetime64(moved).astype(int)


def test_a_form_is_told_as_people_write_it() -> None:
    assert [describe_format(form) for form in ("%d/%m/%Y", "%b %d, %Y", "%d-%m-%y")] == [
        "dd/mm/yyyy",
        "mon dd, yyyy",
        "dd-mm-yy",
    ]
