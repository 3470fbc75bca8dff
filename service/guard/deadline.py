"""Time limits of requests, and clients that leave: what is pending too long, or for nobody, is not scored.

A client sends its time limit in seconds with the header ``X-Request-Timeout``. Envoy, and service meshes built on it,
send ``X-Envoy-Expected-Rq-Timeout-Ms`` in milliseconds. The time starts when the request is read. There is no standard;
both are relative, so that clocks need not agree.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING, Any

from service.errors import RequestProblem
from service.wire.ticket import TICKET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.wire.ticket import Ticket

TIMEOUT = b"x-request-timeout"
ENVOY_TIMEOUT = b"x-envoy-expected-rq-timeout-ms"

_is_number = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?").fullmatch


class ClientLeftError(Exception):
    """The client disconnected before its request was complete or scored."""


def read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the time limit in seconds that came with a request; None if there is none.

    Raises
    ------
    RequestProblem
        400 if ``X-Request-Timeout`` is not a number of seconds above 0. An invalid header of a proxy is ignored, since
        the client can't change it.
    """
    sent = headers.get(TIMEOUT)
    if sent is not None:
        if not _is_number(sent) or not float(sent):
            raise RequestProblem.invalid_timeout("X-Request-Timeout", sent.decode("latin-1"))
        return float(sent)
    sent = headers.get(ENVOY_TIMEOUT)
    if sent is None or not _is_number(sent) or not float(sent):  # Envoy sends 0 for no limit
        return None
    return float(sent) / 1000


class Deadline:
    """Time limit of one ASGI request.

    Parameters
    ----------
    scope : mapping
        Scope of the request; without a `Ticket`, the request has arrived just now.

    Raises
    ------
    RequestProblem
        400 if the time limit sent with the request is invalid.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        ticket: Ticket | None = scope.get(TICKET)
        self._client = ticket.client if ticket is not None else None
        self._limit = read_timeout(dict(scope["headers"]))
        self._arrived = ticket.arrived if ticket is not None else perf_counter()
        self._ends = float("inf") if self._limit is None else self._arrived + self._limit
        self._problem = RequestProblem.deadline_exceeded(self._limit or 0.0)

    def limit(self, seconds: float, setting: str) -> None:
        """Limit the time from now on to that of a setting, if it ends earlier."""
        ends = perf_counter() + seconds
        if ends < self._ends:
            self._ends, self._problem = ends, RequestProblem.deadline_exceeded(seconds, setting)

    @property
    def remaining(self) -> float:
        """Remaining time in seconds, not less than 0; may be infinite."""
        return max(0.0, self._ends - perf_counter())

    @property
    def problem(self) -> RequestProblem:
        """The error when the time has passed."""
        return self._problem

    def check(self, *, has_waited: bool = False) -> None:
        """Raise an exception if scoring would be in vain. May be called in any thread.

        Parameters
        ----------
        has_waited : bool
            Whether the request waited for others. A client that closed its half of the connection in the meantime has
            most likely left; the connection of one that did so at once is kept for the response.

        Raises
        ------
        RequestProblem
            504 if the time has passed.
        ClientLeftError
            If the client has left.
        """
        client = self._client
        if client is not None and (client.has_left or (has_waited and client.has_sent_all)):
            raise ClientLeftError
        if perf_counter() > self._ends:
            raise self._problem

    def watch(self) -> None:
        """Notice from now on when the client leaves."""
        if self._client is not None:
            self._client.watch()

    def abandon(self) -> None:
        """Close the connection of a client that has left."""
        if self._client is not None:
            self._client.abandon()
