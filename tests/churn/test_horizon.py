"""Horizons, and where a version's is found."""

from __future__ import annotations

import pytest

from churn.errors import TableError
from churn.horizon import parse_horizon, read_horizon


@pytest.mark.parametrize(("text", "days"), [("90d", 90), (" 12w ", 84), ("1d", 1), ("3650d", 3650)])
def test_a_horizon_is_in_days_or_weeks(text: str, days: int) -> None:
    assert parse_horizon(text) == days


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "3m", "9999d", "9999w", "1.5d"])
def test_a_horizon_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="allowed: 1d to 3650d"):
        parse_horizon(text)


def test_versions_of_older_programs_have_no_horizon() -> None:
    assert read_horizon({"settings": {"horizon_days": 30}}) == 30
    assert read_horizon({"settings": {"seed": 0}}) is None
    assert read_horizon({}) is None
