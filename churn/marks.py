"""Marks of features that somebody can act on: which changes of a customer `churn.whatif` may propose."""

from __future__ import annotations

from typing import Literal, get_args

Direction = Literal["", "increase", "decrease", "any"]
DIRECTIONS: tuple[str, ...] = tuple(direction for direction in get_args(Direction) if direction)


def find_mark_fault(
    kind: str, direction: object, minimum: float | None, maximum: float | None, *, is_quantity: bool
) -> str | None:
    """Return why a feature can't be marked like this, as a clause, or None.

    Parameters
    ----------
    kind : str
        Kind of the feature.
    direction : object
        ``actionable``: empty if nobody can act on the feature.
    minimum, maximum : float or None
        ``actionable_minimum`` and ``actionable_maximum``.
    is_quantity : bool
        Whether the feature is a number or a date.
    """
    bounds = [name for name, bound in (("minimum", minimum), ("maximum", maximum)) if bound is not None]
    fault = None
    if direction not in ("", *DIRECTIONS):
        fault = f"actionable {direction!r} is unknown; allowed: {', '.join(DIRECTIONS)}, or no mark"
    elif direction in ("increase", "decrease") and kind == "category":
        fault = f"a category has no order, so actionable can't be {direction!r}; allowed: 'any'"
    elif bounds and not direction:
        fault = f"actionable_{bounds[0]} requires actionable, one of {', '.join(DIRECTIONS)}"
    elif bounds and not is_quantity:
        fault = f"actionable_{bounds[0]} requires kind 'number', 'integer' or 'date'"
    elif minimum is not None and maximum is not None and minimum > maximum:
        fault = f"actionable_minimum {minimum} is above actionable_maximum {maximum}"
    return fault
