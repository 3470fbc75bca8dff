"""Parse numbers in text, with a decimal point, or with a decimal comma and points as thousands separators."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Decimal = Literal[".", ",", "?"]
"""Decimal separator of a column: point, comma, or ``?`` if it is unknown, so that ``50.000`` is ambiguous."""

MARKS: tuple[str, ...] = get_args(Decimal)[:2]
"""Decimal separators that a user can select."""

COMMA_NUMBER = r"^[+-]?(?:(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?$"
"""Number with a decimal comma and optional points as thousands separators; valid in Python and in RE2."""

THOUSANDS = r"^[+-]?[1-9]\d{0,2}(?:\.\d{3})+$"
"""Number that differs with a point as decimal separator and as thousands separator."""

_COMMA_NUMBER = re.compile(COMMA_NUMBER, re.ASCII)
_THOUSANDS = re.compile(THOUSANDS, re.ASCII)
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_POINT_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def read_number(text: str, decimal: Decimal = ".") -> float:
    """Parse a number in a table; unlike `float`, this rejects ``1_000`` and digits of other scripts.

    Parameters
    ----------
    text : str
        Without surrounding white space.
    decimal : {".", ",", "?"}

    Raises
    ------
    ValueError
        If the text is not a number; the message has the reason as a clause.
    """
    if decimal == "," and _COMMA_NUMBER.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if decimal == "?" and _THOUSANDS.fullmatch(text):
        raise ValueError("may have a decimal point or a point between thousands")
    try:
        if "_" not in text and text.isascii() and not (decimal == "," and "." in text):
            return float(text)
    except ValueError:
        pass
    raise ValueError("is not a number")


def find_hint(text: str, decimal: Decimal) -> str:
    """Return a hint for a text that is a number with another decimal separator; otherwise empty."""
    if decimal == "?" and _THOUSANDS.fullmatch(text):
        return "; specify it with decimal=. or decimal=,"
    if decimal == ",":
        return "; a decimal point is read with decimal=." if _POINT_NUMBER.fullmatch(text) else ""
    return "; a decimal comma is read with decimal=," if "," in text and _COMMA_NUMBER.fullmatch(text) else ""


def find_decimal(cells: Iterable[str]) -> Decimal | None:
    """Detect the decimal separator of a column from some of its cells.

    Returns
    -------
    {".", ",", "?"} or None
        ``?`` if the cells contradict each other, None if there is no evidence.
    """
    commas = points = 0
    for cell in cells:
        text = cell.strip()
        if "," in text:
            commas += bool(_COMMA_NUMBER.fullmatch(text)) and not _EITHER_COMMA.fullmatch(text)
        elif "." in text:
            points += bool(_POINT_NUMBER.fullmatch(text)) and not _THOUSANDS.fullmatch(text)
    if commas and points:
        return "?"
    return "," if commas else "." if points else None


def is_number(text: str) -> bool:
    """Return whether a text is a number with any decimal separator."""
    return bool(_POINT_NUMBER.fullmatch(text) or _COMMA_NUMBER.fullmatch(text))
