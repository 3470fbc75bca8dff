"""What names a request, and the line that is logged of it."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Literal

from service.observe.deferred import Soon

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

LINES_AT_ONCE = 10
"""A pipe takes 4,096 bytes at once (POSIX: PIPE_BUF), so that lines of several workers don't cut each other up."""

VALUES = 7
VALUES_AT_ONCE = VALUES * LINES_AT_ONCE

JSON_LINE = (
    '{"timestamp": "%s.%06dZ", "level": "info", "logger": "service.access", "event": "request", "request_id": "%s", '
    '"method": "%s", "route": "%s", "status": %d, "duration_seconds": %.6f}\n'
)
TEXT_LINE = "%s.%06dZ info request_id=%s %s %s %d %.6f s\n"

# Only what needs no escaping in a header or in JSON, and not so long that it could flood a log.
_is_request_id = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch
_match_traceparent = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_prefix = secrets.token_hex(6)
_numbers = itertools.count(1)


def find_request_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the name a request came with, or a new one.

    Parameters
    ----------
    headers : mapping of bytes to bytes
        Names in lower case. ``X-Request-ID`` comes first, then the trace of a W3C ``traceparent``; one with other
        characters than letters, digits and ``._:/+=@-``, or more than 128, counts as none.
    """
    sent = headers.get(REQUEST_ID)
    if sent is not None and _is_request_id(sent):
        return sent.decode("ascii")
    trace = headers.get(TRACEPARENT)
    match = _match_traceparent(trace) if trace is not None else None
    if match:
        return match[1].decode("ascii")
    return f"{_prefix}-{next(_numbers):x}"


class AccessLog:
    """Writes a line for each request to standard error, several lines at a time; nothing about a customer.

    What a line says is kept as it is and put into words with its neighbours: that takes half the time.

    Parameters
    ----------
    form : {"json", "text"}
    descriptor : int, optional
        File descriptor to write to.
    """

    def __init__(self, form: Literal["json", "text"], descriptor: int | None = None) -> None:
        self._line = JSON_LINE if form == "json" else TEXT_LINE
        self._lines = self._line * LINES_AT_ONCE
        self._descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._values: list[str | float] = []
        self._soon = Soon(self.flush)
        self._second, self._date = 0, ""

    def log(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Log an answered request; `route` is one of the service's own paths, not what was asked for."""
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._values += (self._date, (moment - second) * 1e6, request_id, method, route, status, seconds)
        if len(self._values) == VALUES_AT_ONCE:
            self._write(self._lines)
        else:
            self._soon.ask()

    def flush(self) -> None:
        """Write what is gathered."""
        if self._values:
            self._write(self._line * (len(self._values) // VALUES))

    def _write(self, lines: str) -> None:
        text = (lines % tuple(self._values)).encode()
        self._values.clear()
        os.write(self._descriptor, text)
