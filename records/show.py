"""Records as plain data and as text, for people and programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from records import times

if TYPE_CHECKING:
    from records.decision import Record


def to_plain(record: Record) -> dict[str, Any]:
    """Return a record as JSON values, without its hashes."""
    return {
        "time": times.show(record.time),
        "request_id": record.request_id,
        "key": record.key,
        "customer_id": record.customer_id,
        "input": _read(record.input),
        "probability": record.probability,
        "churn": record.churn,
        "threshold": record.threshold,
        "model_version": record.model_version,
        "manifest_sha256": record.manifest_sha256,
        "engine": record.engine,
        "reasons": _read(record.reasons),
        "writer": record.writer,
        "sequence": record.sequence,
    }


def _read(text: str | None) -> Any:  # noqa: ANN401  a JSON value
    """Return what a JSON text says; the text itself if it has a number that JSON does not know, such as NaN."""
    if text is None:
        return None

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except ValueError:
        return text


def describe(record: Record) -> str:
    """Return a record as a few lines."""
    decision = "leaves" if record.churn else "stays"
    customer = make_visible(record.customer_id or "-")
    lines = [
        f"{times.show(record.time)}  request {record.request_id}  key {record.key or '-'}",
        f"  customer {customer}: {record.probability:.6f}, {decision} (threshold {record.threshold:g})",
        f"  by model {record.model_version} ({record.engine}, manifest {record.manifest_sha256[:16]}…)",
        f"  as record {record.sequence} of writer {record.writer}",
        f"  from {'data that were erased' if record.input is None else make_visible(record.input)}",
    ]
    reasons = _read(record.reasons)
    if isinstance(reasons, list):
        lines += [f"  because: {make_visible(str(reason.get('sentence', reason.get('field'))))}" for reason in reasons]
    return "\n".join(lines)


def make_visible(text: str) -> str:
    """Return a text that a client has sent, with what a terminal would obey, such as colours, as escapes."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else f"\\u{ord(character):04x}"
        for character in text
    )
