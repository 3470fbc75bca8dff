"""Parameters of a request's query string."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Scope


def read_parameter(scope: Scope, name: str, allowed: Sequence[str]) -> str | None:
    """Return the value of a parameter, or None if it was not sent.

    Raises
    ------
    RequestProblem
        400 if the value is not allowed, or several different ones were sent.
    """
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    values = dict.fromkeys(query.get(name, ()))
    if len(values) > 1 or not values.keys() <= {*allowed}:
        raise RequestProblem.parameter(name, "&".join(values), " or ".join(allowed))
    return next(iter(values), None)
