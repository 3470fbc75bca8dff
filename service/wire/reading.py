"""State of a connection's input, and checks of request heads."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from service.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.settings import Settings


class Limits(NamedTuple):
    """Limits of a connection; uvicorn's ``timeout_keep_alive`` limits idle connections. Times are in seconds."""

    head: float = 20.0
    """Maximum time from the first to the last byte of a request's head."""

    send: float = 60.0
    """Maximum time in which the client reads nothing of a pending response."""

    head_bytes: int = 64 * 1024
    """Maximum size of a request's head, and of what surrounds the parts of a chunked body."""

    url_bytes: int = 8 * 1024
    """Maximum length of a request's target."""

    field_bytes: int = 16 * 1024
    """Maximum length of a field's value."""

    fields: int = 100
    """Maximum number of fields of a head."""

    pipelined: int = 100
    """Maximum number of requests without a response."""

    unread_bytes: int = 64 * 1024
    """Size of the responses that wait for the client, above which nothing more is read from it."""

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Return the limits that are set."""
        return cls(
            head=settings.head_seconds,
            send=settings.send_seconds,
            head_bytes=settings.max_head_bytes,
            url_bytes=settings.max_url_bytes,
            field_bytes=settings.max_field_bytes,
            fields=settings.max_head_fields,
            pipelined=settings.max_pipelined,
            unread_bytes=settings.max_unread_bytes,
        )


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


_LARGE_HEAD = "The head of the request is too large"

# Globals are looked up several times faster than members of an enum.
IDLE, HEAD, FAST_BODY, BODY, ENDED, LINGERING = ReadState


class RefusedError(Exception):
    """An invalid request, after which the connection must be closed.

    Attributes
    ----------
    problem : Problem
        The error response.
    """

    def __init__(self, status: int, kind: str, title: str, detail: str, limit: str = "") -> None:
        super().__init__(detail)
        self.problem = Problem(status, kind, title, detail, limit=limit)


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


def check_head(url: bytes, headers: Sequence[tuple[bytes, bytes]], limits: Limits) -> None:
    """Check the sizes in a complete head.

    Raises
    ------
    RefusedError
        414 or 431 if one exceeds its limit.
    """
    if len(url) > limits.url_bytes:
        detail = f"the target of the request has {len(url)} bytes; allowed: {limits.url_bytes} (CHURN_MAX_URL_BYTES)"
        raise RefusedError(414, "url-too-long", "The target of the request is too long", detail, "max_url_bytes")
    if len(headers) > limits.fields:
        detail = f"the head has {len(headers)} fields; allowed: {limits.fields} (CHURN_MAX_HEAD_FIELDS)"
        raise RefusedError(431, "head-too-large", _LARGE_HEAD, detail, "max_head_fields")
    longest = max(headers, key=lambda field: len(field[1]), default=(b"", b""))
    if len(longest[1]) > limits.field_bytes:
        name = longest[0][:100].decode("latin-1")
        detail = f"the field {name} has {len(longest[1])} bytes; allowed: {limits.field_bytes} (CHURN_MAX_FIELD_BYTES)"
        raise RefusedError(431, "head-too-large", _LARGE_HEAD, detail, "max_field_bytes")
    if len(url) + sum(len(name) + len(value) for name, value in headers) > limits.head_bytes:
        raise RefusedError(431, "head-too-large", _LARGE_HEAD, _explain_large_head(limits), "max_head_bytes")


def refuse_pipelined(limit: int) -> None:
    """Refuse the latest of too many requests that have no response yet.

    Raises
    ------
    RefusedError
        429, always.
    """
    detail = f"more than {limit} requests of the connection wait for their responses (CHURN_MAX_PIPELINED); read them"
    raise RefusedError(429, "too-many-pipelined", "Too many requests wait", detail, "max_pipelined")


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
    return Problem(408, "request-timeout", "The request took too long", detail, limit="head_seconds")


def describe_large_head(limits: Limits, *, is_url: bool) -> Problem:
    """Return the problem for a request whose head is too large; `is_url` if the target fills it."""
    if is_url:
        detail = f"the target of a request may have up to {limits.url_bytes} bytes (CHURN_MAX_URL_BYTES)"
        return Problem(414, "url-too-long", "The target of the request is too long", detail, limit="max_url_bytes")
    return Problem(431, "head-too-large", _LARGE_HEAD, _explain_large_head(limits), limit="max_head_bytes")


def describe_large_frame(limits: Limits) -> Problem:
    """Return the problem for a chunked body with too much that is no part of the body."""
    detail = (
        f"{limits.head_bytes} bytes of chunk extensions or trailers in a row; allowed: fewer (CHURN_MAX_HEAD_BYTES)"
    )
    return Problem(431, "head-too-large", "The trailers are too large", detail, limit="max_head_bytes")


def _explain_large_head(limits: Limits) -> str:
    return f"the head of a request may have up to {limits.head_bytes} bytes (CHURN_MAX_HEAD_BYTES)"
