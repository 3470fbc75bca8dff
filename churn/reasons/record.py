"""Describe the reasons of a customer as JSON, for answers and records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.reasons.strongest import Reason
    from churn.schema import Schema


def describe_reason(schema: Schema, reason: Reason) -> dict[str, Any]:
    """Return a reason as JSON values, without the customer's value."""
    described = {
        "field": schema.features[reason.position].name,
        "points": reason.points,
        "sentence": reason.sentence,
    }
    return described if reason.standard_error is None else described | {"standard_error": reason.standard_error}


def write_reasons(schema: Schema, reasons: Sequence[Reason]) -> str:
    """Return the reasons of one customer as a list of objects; the values are in the customer's input."""
    return json.dumps([describe_reason(schema, reason) for reason in reasons], ensure_ascii=False)
