"""Query parameters of `POST /predict`, for JSON and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from churn.numerals import MARKS
from churn.reasons.strongest import ALLOWED as ALLOWED_REASONS
from churn.reasons.strongest import read_wanted
from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from churn.reasons.strongest import Wanted

REASONS = "reasons"

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "on_error": ("fail", "reject"),
    "extra": ("refuse", "ignore"),
    "texts": ("refuse", "parse"),
    "decimal": MARKS,
}
"""Allowed values of each parameter; except for ``decimal``, the first one is the default."""


def read_parameters(scope: Scope) -> dict[str, str | None]:
    """Return the value of each parameter, or None if it was not sent.

    All are checked for every kind of body, including those that make no difference to it.

    Raises
    ------
    RequestProblem
        400 if a value is not allowed, or several different ones were sent for one parameter.
    """
    query = _parse(scope)
    found: dict[str, str | None] = {}
    for name, allowed in ALLOWED.items():
        values = dict.fromkeys(query.get(name, ()))
        if len(values) > 1 or not values.keys() <= {*allowed}:
            raise RequestProblem.parameter(name, "&".join(values), " or ".join(allowed))
        found[name] = next(iter(values), None)
    return found


def read_reasons(scope: Scope) -> Wanted | None:
    """Return how many reasons the parameter ``reasons`` asks for; None if it was not sent.

    Raises
    ------
    RequestProblem
        400 if it is not a number of reasons.
    """
    values = dict.fromkeys(_parse(scope).get(REASONS, ()))
    if not values:
        return None
    try:
        (value,) = values
        return read_wanted(value)
    except ValueError:
        raise RequestProblem.parameter(REASONS, "&".join(values), ALLOWED_REASONS) from None


def _parse(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
