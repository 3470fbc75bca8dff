"""Content types of `POST /predict`."""

from __future__ import annotations

from email.message import Message
from typing import Literal

from service.errors import RequestProblem

TableFormat = Literal["csv", "arrow"]
"""Format of a table."""

CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
TABLES: dict[bytes, TableFormat] = {CSV.encode(): "csv", ARROW.encode(): "arrow"}

CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")


def find_table(content_type: bytes) -> TableFormat | None:
    """Return the format of a table with the given Content-Type; None if it is not a table."""
    return TABLES.get(content_type.partition(b";")[0].strip().lower())


def check_parameters(content_type: str) -> None:
    """Check the parameters ``charset`` and ``header`` of a CSV's Content-Type (RFC 7111).

    Raises
    ------
    RequestProblem
        415 if the charset is not UTF-8 or the header is absent.
    """
    message = Message()
    message["content-type"] = content_type
    charset, header = (
        str(message.get_param(name, allowed)) for name, allowed in (("charset", "utf-8"), ("header", "present"))
    )
    if charset.strip().lower() not in CHARSETS:
        raise RequestProblem.media_type_parameter("charset", charset, "allowed: utf-8 (a byte-order mark is optional)")
    if header.strip().lower() != "present":
        raise RequestProblem.media_type_parameter("header", header, "allowed: present (the first line has the names)")
