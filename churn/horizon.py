"""The horizon of a label: the days after a row in which a customer who left counts as a leaver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DAYS = 90
"""Horizon of versions whose manifest names none."""

MAX_HORIZON = 3650
"""Days."""

_DAYS_OF = {"d": 1, "w": 7}


def parse_horizon(text: str) -> int:
    """Return a number of days from a text such as ``90d`` or ``12w``.

    Raises
    ------
    TableError
        If it is none.
    """
    found = re.fullmatch(r"(\d{1,4})([dw])", text.strip())
    days = int(found[1]) * _DAYS_OF[found[2]] if found else 0
    if not 1 <= days <= MAX_HORIZON:
        raise TableError(f"the horizon is {text!r}; allowed: 1d to {MAX_HORIZON}d, or weeks, such as 90d or 12w")
    return days


def read_horizon(manifest: Mapping[str, Any]) -> int | None:
    """Return the horizon in days that a version was trained with, from the content of its manifest; None if unknown."""
    days: int | None = manifest.get("settings", {}).get("horizon_days")
    return days
