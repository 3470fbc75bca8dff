"""Limits on JSON, checked before any of its values is created.

Decoding creates an object for every value and can't be interrupted, so its time and memory are limited by the number of
values, which is counted from the bytes. All steps are single calls that take about 1 ns per byte.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from service.errors import RequestProblem

if TYPE_CHECKING:
    from service.settings import Settings

HARMLESS_BYTES = 64 * 1024
"""JSON up to this size is decoded within some milliseconds whatever it is, so only its depth is checked."""

_VALUES = b",[{\\"
_MARKS = b'[]{}"'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_ESCAPE = re.compile(rb"\\.", re.DOTALL)

_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


class JsonLimits(NamedTuple):
    """Limits on JSON that is decoded as a whole.

    Attributes
    ----------
    size : int
        Maximum size in bytes.
    values : int
        Maximum number of values; see `count_values`.
    depth : int
        Maximum depth of lists and objects.
    """

    size: int = 4 * 2**20
    values: int = 250_000
    depth: int = 32

    @classmethod
    def of(cls, settings: Settings) -> JsonLimits:
        """Return the limits that are set."""
        return cls(settings.max_json_bytes, settings.max_json_values, settings.max_json_depth)


def count_values(body: bytes) -> int:
    """Return a number that the values in JSON do not exceed: of commas, opening brackets and backslashes, plus 1.

    Those within strings are counted, too. Backslashes count because an escape takes as long to decode as a value.
    """
    return len(body) - len(body.translate(None, _VALUES)) + 1


def measure_depth(body: bytes) -> int:
    """Return the depth of lists and objects in JSON; brackets within strings do not count."""
    if b"\\" in body:
        body = _ESCAPE.sub(b"", body)
    marks = np.frombuffer(body.translate(None, _OTHERS), np.uint8)
    if not len(marks):
        return 0
    is_inside = np.cumsum(marks == ord('"'), dtype=np.uint8) & 1  # wraps around, which does not change the parity
    steps = _STEPS[marks]
    steps[is_inside == 1] = 0
    return max(0, int(np.cumsum(steps, out=steps).max()))


def check_json(body: bytes, limits: JsonLimits) -> None:
    """Check JSON that is about to be decoded.

    Raises
    ------
    RequestProblem
        413 if it is too large, has too many values or is too deep.
    """
    if len(body) > limits.size:
        raise RequestProblem.json_too_complex("max_json_bytes", f"{len(body)} bytes", limits.size)
    if len(body) > HARMLESS_BYTES and (found := count_values(body)) > limits.values:
        raise RequestProblem.json_too_complex("max_json_values", f"up to {found} values", limits.values)
    if body.count(b"[") + body.count(b"{") > limits.depth and (found := measure_depth(body)) > limits.depth:
        raise RequestProblem.json_too_complex("max_json_depth", f"a depth of {found}", limits.depth)
