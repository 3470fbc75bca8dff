"""What is read from a connection, and which heads of requests are refused."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from service.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_HEAD_BYTES = 64 * 1024


class Limits(NamedTuple):
    """Time limits of a connection, in seconds; uvicorn's ``timeout_keep_alive`` is the one for idle connections."""

    head: float = 20.0
    """From the first byte of a request's head to its last."""

    send: float = 60.0
    """In which a client must read some of the response that waits for it."""


class Reading(Enum):
    """What is read from a connection."""

    IDLE = auto()
    """Nothing: no request has begun."""

    HEAD = auto()
    """The head of a request."""

    FAST_BODY = auto()
    """The body of a request on the fast path."""

    BODY = auto()
    """The body of a request to the application."""

    ENDED = auto()
    """Nothing more; responses may still be due."""

    LINGERING = auto()
    """What the client sends after the last response; it is dropped."""


# A member of an enum is looked up at several times the cost of a global.
IDLE, HEAD, FAST_BODY, BODY, ENDED, LINGERING = Reading


class RefusedError(Exception):
    """A request that can't be answered, so that nothing behind it can be read either.

    Attributes
    ----------
    problem : Problem
    """

    def __init__(self, status: int, kind: str, title: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, kind, title, detail)


def check_host(headers: Sequence[tuple[bytes, bytes]], version: str) -> None:
    """Check that a request names its host once, or not at all in HTTP/1.0 (RFC 9112, 3.2).

    Raises
    ------
    RefusedError
    """
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (not hosts and version != "1.0"):
        detail = f"the request has {hosts} Host headers; allowed: one"
        raise RefusedError(400, "invalid-host", "The host is not named as HTTP requires", detail)


def check_method(method: bytes) -> None:
    """Refuse CONNECT: what follows such a head is no HTTP.

    Raises
    ------
    RefusedError
    """
    if method == b"CONNECT":
        raise RefusedError(501, "not-implemented", "The method is not implemented", "the service is not a proxy")


def find_problem(error: BaseException) -> Problem:
    """Return what is wrong with a request that the parser, or one of the functions here, refused."""
    if isinstance(error.__context__, RefusedError):
        return error.__context__.problem
    detail = f"Invalid HTTP request received. {error}".strip()
    return Problem(400, "malformed-request", "The request can't be read", detail)


def describe_slow_head(seconds: float) -> Problem:
    """Return the problem of a request whose head is not complete in time."""
    detail = f"the head of the request was not complete after {seconds:g} s (CHURN_HEAD_SECONDS)"
    return Problem(408, "request-timeout", "The request took too long", detail)


def describe_large_head() -> Problem:
    """Return the problem of a request whose head is too large."""
    detail = f"the head of a request may have up to {MAX_HEAD_BYTES} bytes"
    return Problem(431, "head-too-large", "The head of the request is too large", detail)
