"""State of a connection's input, and checks of request heads."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from service.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 64 * 1024


class Limits(NamedTuple):
    """Time limits of a connection in seconds; uvicorn's ``timeout_keep_alive`` limits idle connections."""

    head: float = 20.0
    """Maximum time from the first to the last byte of a request's head."""

    send: float = 60.0
    """Maximum time in which the client reads nothing of a pending response."""


class ReadState(Enum):
    """Next input expected from a connection."""

    IDLE = auto()
    """A new request."""

    HEAD = auto()
    """Rest of a request's head."""

    FAST_BODY = auto()
    """Body of a request on the fast path."""

    BODY = auto()
    """Body of a request to the application."""

    ENDED = auto()
    """No more requests; responses may be pending."""

    LINGERING = auto()
    """Data after the last response, which are discarded."""


# Globals are looked up several times faster than members of an enum.
IDLE, HEAD, FAST_BODY, BODY, ENDED, LINGERING = ReadState


class RefusedError(Exception):
    """An invalid request, after which the connection must be closed.

    Attributes
    ----------
    problem : Problem
        The error response.
    """

    def __init__(self, status: int, kind: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, kind, title, detail)


def check_host(headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Check that a request has exactly one Host header, or at most one in HTTP/1.0 (RFC 9112, 3.2).

    Raises
    ------
    RefusedError
        400 otherwise.
    """
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version != "1.0"):
        detail = f"the request has {hosts} Host headers; allowed: one"
        raise RefusedError(400, "invalid-host", "The Host header is missing or repeated", detail)


def check_method(method: bytes) -> None:
    """Reject CONNECT, since the data after its head are not HTTP.

    Raises
    ------
    RefusedError
        501 for CONNECT.
    """
    if method == b"CONNECT":
        raise RefusedError(501, "not-implemented", "The method is not implemented", "CONNECT is for proxies")


def find_problem(error: BaseException) -> Problem:
    """Return the problem for an error of the parser or of a check in this module."""
    if isinstance(error.__context__, RefusedError):
        return error.__context__.problem
    detail = f"invalid HTTP request: {error}".rstrip(": ")
    return Problem(400, "malformed-request", "The request can't be read", detail)


def describe_slow_head(seconds: float) -> Problem:
    """Return the problem for a request whose head is not complete in time."""
    detail = f"the head of the request was not complete after {seconds:g} s (CHURN_HEAD_SECONDS)"
    return Problem(408, "request-timeout", "The request took too long", detail)


def describe_large_head() -> Problem:
    """Return the problem for a request whose head is too large."""
    detail = f"the head of a request may have up to {MAX_HEAD_BYTES} bytes"
    return Problem(431, "head-too-large", "The head of the request is too large", detail)
