"""Paths and query parameters of the questions about one customer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from churn.names import normalize
from churn.numerals import read_number
from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from churn.schema import Schema

COUNTERFACTUALS = "/counterfactuals"
SENSITIVITY = "/sensitivity"

MAX_FIELDS = 20
"""Fields of one request to `SENSITIVITY`."""

MIN_POINTS, MAX_POINTS = 2, 101
"""Points of a curve. Of 101, each whole percent of a range is one."""


def read_target(scope: Scope) -> float | None:
    """Return the probability to reach; None if none was sent, i.e. the model's threshold.

    Raises
    ------
    RequestProblem
        400 if it is not a number from 0 to below 1, or several different ones were sent.
    """
    text = _read_single(scope, "target")
    if text is None:
        return None
    allowed = "a number from 0 to below 1; by default the threshold of the model"
    try:
        target = read_number(text, ".")
    except ValueError:
        raise RequestProblem.parameter("target", text, allowed) from None
    if not 0 <= target < 1:
        raise RequestProblem.parameter("target", text, allowed)
    return target + 0.0  # no negative zero


def read_points(scope: Scope) -> int:
    """Return the maximum number of points of a curve.

    Raises
    ------
    RequestProblem
        400 if it is not a whole number from `MIN_POINTS` to `MAX_POINTS`, or several different ones were sent.
    """
    text = _read_single(scope, "points")
    if text is None:
        return MAX_POINTS
    points = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0
    if not MIN_POINTS <= points <= MAX_POINTS:
        raise RequestProblem.parameter("points", text, f"a whole number from {MIN_POINTS} to {MAX_POINTS}")
    return points


def read_fields(scope: Scope) -> list[str]:
    """Return the values of the parameter ``fields``, as they were sent."""
    return _parse(scope).get("fields", [])


def find_positions(schema: Schema, sent: list[str]) -> list[int]:
    """Return the positions of the features that were asked for, without repetitions.

    Parameters
    ----------
    schema : Schema
    sent : list of str
        Each is the name of a feature, or several names separated by commas.

    Raises
    ------
    RequestProblem
        400 if there is none, a name is not that of a feature, or there are more than `MAX_FIELDS`.
    """
    positions = {name: position for position, name in enumerate(schema.names)}
    found: dict[int, None] = {}
    for text in map(normalize, sent):
        # A name may contain commas itself.
        for name in [text] if text in positions else map(str.strip, text.split(",")):
            if name not in positions:
                raise RequestProblem.parameter("fields", name, f"one or several of {', '.join(schema.names)}")
            found[positions[name]] = None
    if not found:
        raise RequestProblem.parameter("fields", "", f"one or several of {', '.join(schema.names)}")
    # Repetitions count: the OpenAPI document bounds the parameters, not the different names.
    if (asked := max(len(sent), len(found))) > MAX_FIELDS:
        raise RequestProblem.parameter("fields", f"{asked} fields", f"at most {MAX_FIELDS} in one request")
    return list(found)


def _read_single(scope: Scope, name: str) -> str | None:
    values = list(dict.fromkeys(_parse(scope).get(name, ())))
    if len(values) > 1:
        raise RequestProblem.parameter(name, "&".join(values), "one value")
    return values[0] if values else None


def _parse(scope: Scope) -> Mapping[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
