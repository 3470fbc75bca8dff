"""Request identifiers and the access log."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Literal

from service.observe.deferred import DeferredCall

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

REQUEST = "churn.request"
"""Key of the request's identifier in the scope of an ASGI request."""

LINES_AT_ONCE = 8
"""Lines per write. Writes of up to 4,096 bytes to a pipe are atomic (PIPE_BUF), so workers' lines do not interleave."""

VALUES = 8
VALUES_AT_ONCE = VALUES * LINES_AT_ONCE

JSON_LINE = (
    '{"timestamp": "%s.%06dZ", "level": "info", "logger": "service.access", "event": "request", "request_id": "%s", '
    '"method": "%s", "route": "%s", "status": %d, "duration_seconds": %.6f, "caller": "%s"}\n'
)
TEXT_LINE = "%s.%06dZ info request_id=%s %s %s %d %.6f s %s\n"

# Characters that need no escaping in a header or in JSON; short enough not to flood a log.
_is_request_id = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch
_match_traceparent = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_prefix = secrets.token_hex(6)
_numbers = itertools.count(1)


def find_request_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the identifier sent with a request, or generate one.

    Parameters
    ----------
    headers : mapping of bytes to bytes
        Request headers, with names in lower case. ``X-Request-ID`` takes precedence over the trace ID of a W3C
        ``traceparent``. A value is ignored if it is longer than 128 characters or has characters other than letters,
        digits and ``._:/+=@-``.

    Returns
    -------
    str
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
    """Writes one line per request to standard error, in batches, without customer data.

    Values are collected and formatted together, which takes half the time of formatting each line.

    Parameters
    ----------
    form : {"json", "text"}
    descriptor : int, optional
        File descriptor to write to; standard error by default.
    """

    def __init__(self, form: Literal["json", "text"], descriptor: int | None = None) -> None:
        self._line = JSON_LINE if form == "json" else TEXT_LINE
        self._lines = self._line * LINES_AT_ONCE
        self._descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._values: list[str | float] = []
        self._deferred_flush = DeferredCall(self.flush)
        self._second, self._date = 0, ""

    def log(self, request_id: str, method: str, route: str, status: int, seconds: float, caller: str = "-") -> None:
        """Log a completed request.

        Parameters
        ----------
        request_id, method : str
        route : str
            Path template of the route, never the requested path.
        status : int
            HTTP status; 499 if the client disconnected.
        seconds : float
            Duration of the request.
        caller : str
            Name of the API key or token; has no character that needs escaping.
        """
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        self._values += (self._date, (moment - second) * 1e6, request_id, method, route, status, seconds, caller)
        if len(self._values) == VALUES_AT_ONCE:
            self._write(self._lines)
        else:
            self._deferred_flush.schedule()

    def flush(self) -> None:
        """Write the collected lines."""
        if self._values:
            self._write(self._line * (len(self._values) // VALUES))

    def _write(self, lines: str) -> None:
        text = (lines % tuple(self._values)).encode()
        self._values.clear()
        os.write(self._descriptor, text)
