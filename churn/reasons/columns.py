"""The columns of a table of scores that have the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.reasons.strongest import Reason, ReasonWriter
    from churn.schema import Schema

BASE = "base"

_TYPES = {"number": pa.float64(), "text": pa.string()}


def list_columns(writer: ReasonWriter) -> list[tuple[str, Literal["number", "text"]]]:
    """Return name and kind of each column: ``base``, and for each reason its field, points, sentence.

    Estimates have a column with their standard error as well.
    """
    columns: list[tuple[str, Literal["number", "text"]]] = [(BASE, "number")]
    for number in range(1, writer.count + 1):
        name = f"reason_{number}"
        columns += [(name, "text"), (f"{name}_points", "number"), (f"{name}_sentence", "text")]
        if not writer.is_exact:
            columns.append((f"{name}_standard_error", "number"))
    return columns


def list_fields(writer: ReasonWriter, names: Sequence[str]) -> list[pa.Field]:
    """Return the columns as Arrow fields with other names."""
    return [pa.field(name, _TYPES[kind]) for name, (_, kind) in zip(names, list_columns(writer), strict=True)]


def make_columns(writer: ReasonWriter, schema: Schema, reasons: Sequence[Sequence[Reason]]) -> list[pa.Array]:
    """Return the columns of `list_columns` for customers.

    Parameters
    ----------
    writer : ReasonWriter
    schema : Schema
    reasons : sequence of sequence of Reason
        Of each customer. Where one has fewer reasons than columns, they are null.
    """
    names = schema.names
    columns = [pa.array([writer.base] * len(reasons), pa.float64())]
    for number in range(writer.count):
        chosen = [own[number] if number < len(own) else None for own in reasons]
        columns += [
            pa.array([None if one is None else names[one.position] for one in chosen], pa.string()),
            pa.array([None if one is None else one.points for one in chosen], pa.float64()),
            pa.array([None if one is None else one.sentence for one in chosen], pa.string()),
        ]
        if not writer.is_exact:
            columns.append(pa.array([None if one is None else one.standard_error for one in chosen], pa.float64()))
    return columns
