"""Which of the forms that `POST /predict` reads a request announces."""

from __future__ import annotations

from email.message import Message
from typing import Literal

from service.errors import RequestProblem

Form = Literal["csv", "arrow"]
"""The forms of a table."""

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
TABLES: dict[bytes, Form] = {CSV.encode(): "csv", ARROW.encode(): "arrow"}

CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")


def find_table(content_type: bytes) -> Form | None:
    """Return the form of the table that a request's Content-Type announces; None if it announces none."""
    return TABLES.get(content_type.partition(b";")[0].strip().lower())


def check_parameters(content_type: str) -> None:
    """Check what a CSV's Content-Type says beside its name (RFC 7111: ``charset`` and ``header``).

    Raises
    ------
    RequestProblem
        415 if it is not UTF-8, or without a header line.
    """
    message = Message()
    message["content-type"] = content_type
    charset, header = (
        str(message.get_param(name, allowed)) for name, allowed in (("charset", "utf-8"), ("header", "present"))
    )
    if charset.strip().lower() not in CHARSETS:
        raise RequestProblem.media_type_parameter("charset", charset, "UTF-8 is read, with or without byte-order mark")
    if header.strip().lower() != "present":
        raise RequestProblem.media_type_parameter("header", header, "the first line must name the columns")
