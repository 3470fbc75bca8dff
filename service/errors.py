"""Every error answer, as RFC 9457 problem documents (``application/problem+json``)."""

from __future__ import annotations

import json
import logging
import math
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
MAX_SENT_CHARACTERS = 100
RETRY_AFTER = {"Retry-After": "1"}

IDENTIFIER_LIMIT = 2**63
ALLOWED_IDENTIFIER = f"a text, or a whole number from {-IDENTIFIER_LIMIT} to {IDENTIFIER_LIMIT - 1} (64 bits, signed)"

_log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818  the RFC's word
    """An error the client is told about.

    Parameters
    ----------
    status : int
        HTTP status.
    kind : str
        Last part of the document's ``type``, e.g. ``"invalid-customers"``; also the label of the metric.
    title, detail : str
        What the kind of problem is; what it was this time.
    headers : mapping of str to str
        Sent beside the document.
    errors : sequence of dict
        For invalid customers: each wrong value.
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
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = errors

    def encode(self) -> bytes:
        """Return the document's bytes."""
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
    """A problem of one of the kinds that `POST /predict` knows; the classmethods are the whole list."""

    @classmethod
    def malformed(cls, detail: str) -> RequestProblem:
        """Say that the body is not JSON."""
        return cls(400, "malformed-json", "The body is not valid JSON", detail)

    @classmethod
    def malformed_table(cls, form: str, detail: str) -> RequestProblem:
        """Say that the body is not the table it is announced as; `form` is "csv" or "arrow"."""
        return cls(400, f"malformed-{form}", "The table can't be read", detail)

    @classmethod
    def body_too_slow(cls, pause_seconds: float, rate: int) -> RequestProblem:
        """Say that the body stopped or came too slowly."""
        return cls(
            408,
            "request-timeout",
            "The request took too long",
            f"a body may pause for up to {pause_seconds:g} s (CHURN_BODY_SECONDS) and must bring {rate} bytes a second",
        )

    @classmethod
    def body_too_large(cls, limit: int) -> RequestProblem:
        """Say that the body is larger than the limit, in bytes."""
        return cls(
            413,
            "body-too-large",
            "The body is too large",
            f"a request's body may have up to {limit} bytes (CHURN_MAX_BODY_BYTES); send the customers in several",
        )

    @classmethod
    def part_too_large(cls, part: str, limit: int, advice: str) -> RequestProblem:
        """Say that a part of a table that must be held whole is larger than the limit, in bytes."""
        return cls(
            413,
            "body-too-large",
            "The body is too large",
            f"{part} may have up to {limit} bytes (CHURN_MAX_BODY_BYTES); {advice}",
        )

    @classmethod
    def answer_too_large(cls, rows: int) -> RequestProblem:
        """Say that the response to a table takes more than can be held."""
        return cls(
            413,
            "answer-too-large",
            "The table is too long to be answered whole or not at all",
            f"the response is held until every row is known to be good, and no more can be held after {rows} rows "
            "(CHURN_MAX_HELD_BYTES, CHURN_MAX_SPILLED_BYTES); send the table in several, or with ?on_error=reject, "
            "which then answers as it reads",
        )

    @classmethod
    def too_many_customers(cls, sent: int, limit: int) -> RequestProblem:
        """Say that the batch is longer than the limit."""
        return cls(
            413,
            "too-many-customers",
            "The request has too many customers",
            f"{sent} customers were sent; a request may have up to {limit} (CHURN_MAX_CUSTOMERS)",
        )

    @classmethod
    def media_type(cls, sent: str) -> RequestProblem:
        """Say that the body is announced as something other than JSON."""
        return cls(
            415,
            "unsupported-media-type",
            "The content type is not supported",
            f"sent as {shorten(sent)!r}; send JSON, with the header 'Content-Type: application/json', or a table as "
            "'text/csv' or 'application/vnd.apache.arrow.stream'",
            headers={"Accept": "application/json, text/csv, application/vnd.apache.arrow.stream"},
        )

    @classmethod
    def media_type_parameter(cls, name: str, sent: str, allowed: str) -> RequestProblem:
        """Say that the content type has a parameter that can't be met."""
        return cls(
            415,
            "unsupported-media-type",
            "The content type is not supported",
            f"its parameter {name} is {shorten(sent)!r}; {allowed}",
        )

    @classmethod
    def content_encoding(cls, sent: str, allowed: Iterable[str]) -> RequestProblem:
        """Say that the body is compressed in a way that is not read; `allowed` has the ways that are."""
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
        """Say that the body is not compressed as its Content-Encoding says."""
        return cls(400, "malformed-encoding", "The body can't be decompressed", f"it is not {encoding}: {detail}")

    @classmethod
    def parameter(cls, name: str, sent: str, allowed: str) -> RequestProblem:
        """Say that a parameter in the address has no such value."""
        detail = f"{name} is {shorten(sent)!r}; allowed: {allowed}"
        return cls(400, "invalid-parameter", "A parameter has no such value", detail)

    @classmethod
    def invalid(cls, errors: Sequence[Mapping[str, Any]], *, more: bool) -> RequestProblem:
        """Say which values can't be scored."""
        first = errors[0]
        where = "" if first["customer"] is None else f"customer {first['customer']}: "
        what = "the request" if first["field"] is None else first["field"]
        if first.get("line") is not None:  # of a table
            where, what = f"line {first['line']}: ", first["field"] or "the row"
        detail = f"{where}{what} {first['reason']}; allowed: {first['allowed']}"
        if len(errors) > 1:
            detail += f" (and {len(errors) - 1} {'or more others' if more else 'more'}: see errors)"
        return cls(422, "invalid-customers", "Some values can't be scored", detail, errors=errors)

    @classmethod
    def not_ready(cls, detail: str) -> RequestProblem:
        """Say that no model is there to score with."""
        return cls(503, "not-ready", "The service is not ready", detail, headers=RETRY_AFTER)

    @classmethod
    def overloaded(cls, limit: str = "CHURN_MAX_PENDING_BYTES") -> RequestProblem:
        """Say that too much is waiting already; `limit` is the setting that says how much may."""
        return cls(
            503,
            "overloaded",
            "The service is busy",
            f"too many bytes of requests are waiting already ({limit}); try again",
            headers=RETRY_AFTER,
        )

    @classmethod
    def shutting_down(cls, seconds: float) -> RequestProblem:
        """Say that the service ends before the request has."""
        detail = f"the request had not ended {seconds:g} s after the service began to (CHURN_SHUTDOWN_SECONDS)"
        return cls(503, "shutting-down", "The service is shutting down", detail, headers=RETRY_AFTER)

    @classmethod
    def internal(cls, identifier: str) -> RequestProblem:
        """Say that it is our own fault; the log has the rest under the identifier."""
        return cls(
            500, "internal-error", "The service failed", f"the log says more under the error's identifier {identifier}"
        )


def shorten(value: object) -> Any:  # noqa: ANN401  a JSON value
    """Return what was sent in a form that is safe to send back: finite, valid Unicode, short."""
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
    """Answer what routing refuses: an unknown path, a method a path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if "GET" in headers.get("Allow", ""):
        headers["Allow"] += ", HEAD"
    words = {
        HTTPStatus.NOT_FOUND: "there is nothing at this path; /docs lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"allowed here: {headers.get('Allow', 'another method')}",
    }
    kind = status.phrase.lower().replace(" ", "-")
    return Problem(status, kind, status.phrase, words.get(status, error.detail), headers=headers).respond()


async def respond_to_failure(request: Request, _error: Exception) -> Response:
    """Answer a request whose route raised what nobody foresaw."""
    return report_failure(request.method, request.url.path).respond()


def report_failure(method: str, path: str) -> RequestProblem:
    """Log the exception being handled under an identifier, and return the problem that names it and nothing else."""
    identifier = secrets.token_hex(6)
    _log.exception("error %s: %s %s failed", identifier, method, path)
    return RequestProblem.internal(identifier)
