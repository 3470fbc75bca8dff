"""Numbers as text: with a decimal point, or with a decimal comma and points between thousands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Decimal = Literal[".", ",", "?"]
"""How a column writes numbers: with a decimal point, with a decimal comma, or (``?``) in a way that is not known, where
``50.000`` may be either number."""

MARKS: tuple[str, ...] = get_args(Decimal)[:2]
"""What a user may say."""

COMMA_NUMBER = r"^[+-]?(?:(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?$"
"""A number with a decimal comma, and maybe points between thousands; a regular expression of Python's and of RE2's."""

THOUSANDS = r"^[+-]?[1-9]\d{0,2}(?:\.\d{3})+$"
"""A number that is another one with a decimal point than with a point between thousands."""

_COMMA_NUMBER = re.compile(COMMA_NUMBER, re.ASCII)
_THOUSANDS = re.compile(THOUSANDS, re.ASCII)
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)
_POINT_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def read_number(text: str, decimal: Decimal = ".") -> float:
    """Read a number as tables write it; `float` alone would also take ``1_000`` and the digits of other scripts.

    Parameters
    ----------
    text : str
        Without blanks around it.
    decimal : {".", ",", "?"}

    Raises
    ------
    ValueError
        If it is no number; the message says why, as a clause.
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
    """Return what to say about a text that is no number, if it is one in another way of writing it; else nothing."""
    if decimal == "?" and _THOUSANDS.fullmatch(text):
        return "; say which with decimal=. or decimal=,"
    if decimal == ",":
        return "; a decimal point is read with decimal=." if _POINT_NUMBER.fullmatch(text) else ""
    return "; a decimal comma is read with decimal=," if "," in text and _COMMA_NUMBER.fullmatch(text) else ""


def find_decimal(cells: Iterable[str]) -> Decimal | None:
    """Find out how a column writes numbers, from some of its cells.

    Returns
    -------
    {".", ",", "?"} or None
        ``?`` if the cells contradict one another, None if none of them tells.
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
    """Whether a text is a number in some way of writing it."""
    return bool(_POINT_NUMBER.fullmatch(text) or _COMMA_NUMBER.fullmatch(text))
