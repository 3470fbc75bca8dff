"""What names a request, and the line that is logged of it."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import sys
import time
from typing import TYPE_CHECKING, Literal

from service.soon import Soon

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

PIPE_BYTES = 4096
"""A pipe takes this much at once, so that the lines of several workers don't cut each other up (POSIX: PIPE_BUF)."""

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

    Parameters
    ----------
    form : {"json", "text"}
    descriptor : int
        File descriptor to write to.
    """

    def __init__(self, form: Literal["json", "text"], descriptor: int | None = None) -> None:
        self._format = _format_json if form == "json" else _format_text
        self._descriptor = sys.stderr.fileno() if descriptor is None else descriptor
        self._lines = bytearray()
        self._soon = Soon(self.flush)

    def log(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Log an answered request; `route` is one of the service's own paths, not what was asked for."""
        line = self._format(time.time(), request_id, method, route, status, seconds).encode()
        if len(self._lines) + len(line) > PIPE_BYTES:
            self.flush()
        self._lines += line
        self._soon.ask()

    def flush(self) -> None:
        """Write what is gathered."""
        if self._lines:
            os.write(self._descriptor, self._lines)
            self._lines.clear()


def _format_json(moment: float, request_id: str, method: str, route: str, status: int, seconds: float) -> str:
    return (
        f'{{"event": "request", "request_id": "{request_id}", "method": "{method}", "route": "{route}", '
        f'"status": {status}, "duration_seconds": {seconds:.6f}, "level": "info", "logger": "service.access", '
        f'"timestamp": "{_format_time(moment)}"}}\n'
    )


def _format_text(moment: float, request_id: str, method: str, route: str, status: int, seconds: float) -> str:
    return f"{_format_time(moment)} info {method} {route} {status} {seconds * 1000:.3f} ms request_id={request_id}\n"


_second, _prefix_of_second = 0, ""


def _format_time(moment: float) -> str:
    """Write a time as ISO 8601 in UTC, as the log's other lines have it; the part down to seconds once a second."""
    global _second, _prefix_of_second
    whole = int(moment)
    if whole != _second:
        _second, _prefix_of_second = whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{_prefix_of_second}.{int((moment - whole) * 1e6):06d}Z"
