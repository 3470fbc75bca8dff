"""Error responses as problem documents (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

import json
import logging
import math
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from churn.names import IDENTIFIER_LIMIT
from service.safe_headers import SAFE_LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
MAX_SENT_CHARACTERS = 100
RETRY_AFTER = {"Retry-After": "1"}

_log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818  the RFC's word
    """An error that is returned to the client.

    Parameters
    ----------
    status : int
        HTTP status.
    kind : str
        Last part of the document's ``type``, e.g. ``"invalid-customers"``; also the label of the metric.
    title, detail : str
        Summary of the problem type; explanation of this occurrence.
    headers : mapping of str to str
        Additional response headers.
    errors : sequence of dict
        Invalid values of customers.
    limit : str
        Name of the setting that the request exceeds, e.g. ``"max_body_bytes"``; also the label of the metric. Defaults
        to none.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        limit: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors
        self.limit = limit

    def encode(self) -> bytes:
        """Return the document as JSON."""
        document: dict[str, Any] = {
            "type": f"urn:churn:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()

    def respond(self) -> Response:
        """Return the document as a Starlette response."""
        return Response(self.encode(), self.status, self.headers, MEDIA_TYPE)


class RequestProblem(Problem):
    """A problem with a scoring request. There is one classmethod per type."""

    @classmethod
    def malformed(cls, detail: str) -> RequestProblem:
        """Report a body that is not valid JSON."""
        return cls(400, "malformed-json", "The body is not valid JSON", detail)

    @classmethod
    def malformed_table(cls, form: str, detail: str) -> RequestProblem:
        """Report a body that is not a valid table; `form` is "csv" or "arrow"."""
        return cls(400, f"malformed-{form}", "The table can't be read", detail)

    @classmethod
    def body_too_slow(cls, pause_seconds: float, rate: int) -> RequestProblem:
        """Report a body that was not received in time."""
        return cls(
            408,
            "request-timeout",
            "The request took too long",
            f"a body may pause for {pause_seconds:g} s at most (CHURN_BODY_SECONDS); it needs {rate} bytes/s at least",
            limit="body_seconds",
        )

    @classmethod
    def body_too_large(cls, limit: int) -> RequestProblem:
        """Report a body that exceeds the limit, in bytes."""
        return cls(
            413,
            "body-too-large",
            "The body is too large",
            f"allowed: {limit} bytes (CHURN_MAX_BODY_BYTES); split the customers into several requests",
            limit="max_body_bytes",
        )

    @classmethod
    def part_too_large(cls, part: str, limit: int, advice: str, setting: str = "max_body_bytes") -> RequestProblem:
        """Report a part of a table that must be held in memory and exceeds the limit of a setting, in bytes."""
        return cls(
            413,
            "body-too-large",
            "The body is too large",
            f"{part} may have up to {limit} bytes (CHURN_{setting.upper()}); {advice}",
            limit=setting,
        )

    @classmethod
    def answer_too_large(cls, rows: int) -> RequestProblem:
        """Report that the response to a table exceeds the limits of what can be held."""
        return cls(
            413,
            "answer-too-large",
            "The response to the table is too large",
            f"the response is held until all rows are valid, and the limit was reached after {rows} rows "
            "(CHURN_MAX_HELD_BYTES, CHURN_MAX_SPILLED_BYTES); split the table into several requests, or use "
            "?on_error=reject, for which the response is streamed",
            limit="max_held_bytes",
        )

    @classmethod
    def too_many_customers(cls, sent: int, limit: int) -> RequestProblem:
        """Report more customers than the limit."""
        return cls(
            413,
            "too-many-customers",
            "The request has too many customers",
            f"{sent} customers were sent; allowed: {limit} (CHURN_MAX_CUSTOMERS)",
            limit="max_customers",
        )

    @classmethod
    def too_many_columns(cls, sent: int, limit: int) -> RequestProblem:
        """Report a table with more columns than the limit."""
        detail = f"the table has {sent} columns; allowed: {limit} (CHURN_MAX_COLUMNS)"
        return cls(413, "too-many-columns", "The table has too many columns", detail, limit="max_columns")

    @classmethod
    def json_too_complex(cls, limit: str, found: str, allowed: int) -> RequestProblem:
        """Report JSON that exceeds a limit; `limit` is the name of its setting."""
        return cls(
            413,
            "json-too-complex",
            "The JSON is too large or too deep",
            f"the JSON has {found}; allowed: {allowed} (CHURN_{limit.upper()})",
            limit=limit,
        )

    @classmethod
    def too_many_reasoned(cls, limit: int) -> RequestProblem:
        """Report more customers with reasons than the limit."""
        return cls(
            413,
            "too-many-customers",
            "The request has too many customers",
            f"allowed with reasons: {limit} customers in one request (CHURN_MAX_REASONED); split them into several "
            "requests, or use churn score --reasons",
            limit="max_reasoned",
        )

    @classmethod
    def no_background(cls, version: str) -> RequestProblem:
        """Report a model without the customers that reasons are measured against."""
        return cls(
            409,
            "no-background",
            "The model has no background",
            f"model version {version} has no background of customers to explain predictions against: it was trained by "
            "an older program; retrain it with churn train. It scores without the parameter reasons",
        )

    @classmethod
    def no_reasons(cls, version: str, detail: str) -> RequestProblem:
        """Report a model whose network can't be explained."""
        return cls(
            409,
            "no-reasons",
            "The model can't be explained",
            f"the reasons of model version {version} can't be computed: {detail}. It scores without the parameter "
            "reasons",
        )

    @classmethod
    def media_type(cls, sent: str, *, has_tables: bool = True) -> RequestProblem:
        """Report an unsupported content type; `has_tables` tells whether the route accepts tables."""
        if not has_tables:
            detail = f"the content type is {shorten(sent)!r}; allowed: 'application/json'"
            headers = {"Accept": "application/json"}
            return cls(415, "unsupported-media-type", "The content type is not supported", detail, headers=headers)
        return cls(
            415,
            "unsupported-media-type",
            "The content type is not supported",
            f"the content type is {shorten(sent)!r}; allowed: 'application/json', and for tables 'text/csv' and "
            "'application/vnd.apache.arrow.stream'",
            headers={"Accept": "application/json, text/csv, application/vnd.apache.arrow.stream"},
        )

    @classmethod
    def media_type_parameter(cls, name: str, sent: str, allowed: str) -> RequestProblem:
        """Report an unsupported parameter of the content type."""
        return cls(
            415,
            "unsupported-media-type",
            "The content type is not supported",
            f"the parameter {name} is {shorten(sent)!r}; {allowed}",
        )

    @classmethod
    def content_encoding(cls, sent: str, allowed: Iterable[str]) -> RequestProblem:
        """Report a content encoding that is not one of `allowed`."""
        names = ", ".join(allowed)
        return cls(
            415,
            "unsupported-content-encoding",
            "The content encoding is not supported",
            f"sent as {shorten(sent)!r}; " + (f"allowed: {names}, identity" if names else "send it uncompressed"),
            headers={"Accept-Encoding": f"{names}, identity" if names else "identity"},
        )

    @classmethod
    def malformed_encoding(cls, encoding: str, detail: str) -> RequestProblem:
        """Report a body that does not match its Content-Encoding."""
        return cls(400, "malformed-encoding", "The body can't be decompressed", f"it is not {encoding}: {detail}")

    @classmethod
    def parameter(cls, name: str, sent: str, allowed: str) -> RequestProblem:
        """Report an invalid value of a query parameter."""
        detail = f"{name} is {shorten(sent)!r}; allowed: {allowed}"
        return cls(400, "invalid-parameter", "A parameter is invalid", detail)

    @classmethod
    def invalid(cls, errors: Sequence[Mapping[str, Any]], *, more: bool) -> RequestProblem:
        """Report invalid values of customers; `more` tells that there may be others than those listed."""
        first = errors[0]
        where = "" if first["customer"] is None else f"customer {first['customer']}: "
        what = "the request" if first["field"] is None else first["field"]
        if first.get("line") is not None:  # of a table
            where, what = f"line {first['line']}: ", first["field"] or "the row"
        detail = f"{where}{what} {first['reason']}; allowed: {first['allowed']}"
        if len(errors) > 1:
            detail += f" (and {len(errors) - 1} {'or more others' if more else 'more'}, see errors)"
        return cls(422, "invalid-customers", "Some values are invalid", detail, errors=errors)

    @classmethod
    def not_ready(cls, detail: str) -> RequestProblem:
        """Report that no model is ready."""
        return cls(503, "not-ready", "The service is not ready", detail, headers=RETRY_AFTER)

    @classmethod
    def overloaded(cls, limit: str = "CHURN_MAX_PENDING_BYTES") -> RequestProblem:
        """Report an overload; `limit` is the setting whose value is exceeded."""
        return cls(
            503,
            "overloaded",
            "The service is overloaded",
            f"too many bytes of requests are pending ({limit}); retry later",
            headers=RETRY_AFTER,
            limit=limit.removeprefix("CHURN_").lower(),
        )

    @classmethod
    def not_recorded(cls, reason: str) -> RequestProblem:
        """Report that an answer may not leave, since its record can't be kept."""
        return cls(
            503,
            "not-recorded",
            "The decision can't be recorded",
            f"{reason}; no answer leaves without its record (CHURN_RECORDS_MODE=durable); retry later",
            headers=RETRY_AFTER,
        )

    @classmethod
    def too_many_reasons(cls, limit: int) -> RequestProblem:
        """Report that as many requests with reasons are in progress as may be, or too many of the same caller."""
        detail = (
            f"too many requests with reasons are in progress: at most {limit}, and no caller more than the places that "
            "are left for others; retry later"
        )
        return cls(503, "overloaded", "The service is overloaded", detail, headers=RETRY_AFTER)

    @classmethod
    def queue_full(cls, seconds: float) -> RequestProblem:
        """Report that more requests wait than can be scored within the longest wait, in seconds."""
        detail = f"more requests are waiting than can be scored in {seconds:g} s (CHURN_QUEUE_SECONDS); retry later"
        return cls(503, "overloaded", "The service is overloaded", detail, headers=RETRY_AFTER, limit="queue_seconds")

    @classmethod
    def too_many_connections(cls) -> RequestProblem:
        """Report a connection beyond the limit."""
        detail = (
            "the service has as many connections as it may (CHURN_MAX_CONNECTIONS); retry later, or reuse connections"
        )
        title = "The service has too many connections"
        return cls(503, "too-many-connections", title, detail, headers=RETRY_AFTER, limit="max_connections")

    @classmethod
    def deadline_exceeded(cls, seconds: float, source: str = "sent with the request") -> RequestProblem:
        """Report a request that was not scored within its time; `source` is the setting or header that limits it."""
        detail = f"the request could not be scored within {seconds:g} s ({source}), and was dropped"
        limit = "request_timeout" if source == "CHURN_REQUEST_TIMEOUT" else ""
        return cls(504, "deadline-exceeded", "The request was not scored in time", detail, limit=limit)

    @classmethod
    def invalid_timeout(cls, header: str, sent: str) -> RequestProblem:
        """Report a header with a time limit that can't be used."""
        detail = f"the header {header} is {shorten(sent)!r}; allowed: a number of seconds above 0, e.g. 0.25"
        return cls(400, "invalid-timeout", "The time limit is invalid", detail)

    @classmethod
    def shutting_down(cls, seconds: float) -> RequestProblem:
        """Report a request that was not finished before the service shut down."""
        detail = f"the request was not finished within {seconds:g} s of the shutdown (CHURN_SHUTDOWN_SECONDS)"
        return cls(503, "shutting-down", "The service is shutting down", detail, headers=RETRY_AFTER)

    @classmethod
    def internal(cls, identifier: str) -> RequestProblem:
        """Report an unexpected error, which is logged with the identifier."""
        return cls(
            500, "internal-error", "Internal error", f"details are in the log, with the error identifier {identifier}"
        )


def encode_closing(problem: Problem) -> bytes:
    """Return a whole response after which the connection is closed."""
    body = problem.encode()
    fields = [*problem.headers.items(), ("content-type", MEDIA_TYPE), ("content-length", len(body))]
    fields.append(("connection", "close"))
    head = f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}\r\n"
    lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in fields)
    return head.encode() + SAFE_LINES + lines.encode() + b"\r\n" + body


def shorten(value: object) -> Any:  # noqa: ANN401  a JSON value
    """Return a value of a request in a form that is safe to return: finite, valid Unicode and short."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        return text if len(text) <= MAX_SENT_CHARACTERS else text[:MAX_SENT_CHARACTERS] + "…"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and abs(value) > IDENTIFIER_LIMIT:
        return shorten(str(value))
    return value


async def respond_to_http_exception(_request: Request, error: Exception) -> Response:
    """Respond to an unknown path or method."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if "GET" in headers.get("Allow", ""):
        headers["Allow"] += ", HEAD"
    words = {
        HTTPStatus.NOT_FOUND: "no such path; see /docs for the available ones",
        HTTPStatus.METHOD_NOT_ALLOWED: f"allowed: {headers.get('Allow', 'another method')}",
    }
    kind = status.phrase.lower().replace(" ", "-")
    return Problem(status, kind, status.phrase, words.get(status, error.detail), headers=headers).respond()


async def respond_to_failure(request: Request, _error: Exception) -> Response:
    """Respond to a request whose route raised an unexpected exception."""
    return report_failure(request.method, request.url.path).respond()


def report_failure(method: str, path: str) -> RequestProblem:
    """Log the current exception with an identifier, and return a problem with this identifier and no other details."""
    identifier = secrets.token_hex(6)
    _log.exception("error %s: %s %s failed", identifier, method, path)
    return RequestProblem.internal(identifier)
