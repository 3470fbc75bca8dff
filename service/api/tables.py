"""OpenAPI description of tables in `POST /predict`."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from churn.names import ROW
from service.api.contracts import make_example
from service.media_types import ARROW, CSV
from service.query import ALLOWED

if TYPE_CHECKING:
    from churn.schema import Schema

DECIMAL: dict[str, Any] = {
    "name": "decimal",
    "in": "query",
    "description": "Decimal separator of numbers in text; with a comma, points may separate thousands. Detected in "
    "the first rows of a CSV by default.",
    "schema": {"type": "string", "enum": list(ALLOWED["decimal"])},
}

PARAMETERS = [
    {
        "name": "on_error",
        "in": "query",
        "description": "Handling of invalid rows in a table: `fail` rejects the table with a 422 that lists them, "
        "`reject` scores the other rows and describes the error of each invalid row in the column `error`. A JSON "
        "request is always scored completely or not at all.",
        "schema": {"type": "string", "enum": list(ALLOWED["on_error"]), "default": ALLOWED["on_error"][0]},
    },
    DECIMAL,
]


def describe_requests(schema: Schema) -> dict[str, Any]:
    """Return the OpenAPI content of a request with a table, by media type."""
    example = make_example(schema)
    rows = [(schema.identifier, *schema.names), *((number, *example.values()) for number in (15634602, 15634603))]
    return _content(
        "A header and one record per customer (RFC 4180), in UTF-8 or UTF-16, separated by commas, semicolons, tabs or "
        "pipes. Columns are "
        f"found by name, in any order: {', '.join(schema.names)}, optionally {schema.identifier}. Others are ignored.",
        _write_csv(rows),
    )


def describe_answers(schema: Schema) -> dict[str, Any]:
    """Return the OpenAPI content of the response to a table, by media type."""
    rows = [
        (schema.identifier, "probability", "churn", "model_version"),
        (15634602, 0.1234, "false", 1),
        (15634603, 0.8765, "true", 1),
    ]
    return _content(
        f"One row per row of the request, in the same order: {schema.identifier} (or, if it was not sent, `{ROW}`: the "
        "number of the row, from 1), probability, churn, model_version; with `reasons` also base, and for each reason "
        "its field, points and sentence as reason_1, reason_1_points, reason_1_sentence, …; with `on_error=reject` "
        "also error.",
        _write_csv(rows),
    )


def _content(words: str, example: str) -> dict[str, Any]:
    text = {"type": "string", "description": words}
    binary = {"type": "string", "contentMediaType": ARROW, "description": f"An Arrow stream. {words}"}
    return {CSV: {"schema": text, "example": example}, ARROW: {"schema": binary}}


def _write_csv(rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
