"""The columns of a table of scores that have the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.reasons.strongest import Reasons, ReasonWriter
    from churn.schema import Schema

BASE = "base"

_TYPES = {"number": pa.float64(), "text": pa.string()}


@dataclass(frozen=True, slots=True)
class Width:
    """What the columns of several writers of reasons have room for; see `ReasonWriter`."""

    count: int
    is_exact: bool
    has_support: bool
    has_range: bool

    @classmethod
    def of(cls, writers: Sequence[ReasonWriter]) -> Width:
        """Return the columns that at least one of them fills."""
        return cls(
            max(writer.count for writer in writers),
            all(writer.is_exact for writer in writers),
            any(writer.has_support for writer in writers),
            any(writer.has_range for writer in writers),
        )


def list_columns(writer: ReasonWriter | Width) -> list[tuple[str, Literal["number", "text"]]]:
    """Return name and kind of each column: ``base``, and for each reason its field, points, sentence; then the support.

    Estimates have a column with their standard error as well. What a model version does not know has no column.
    """
    columns: list[tuple[str, Literal["number", "text"]]] = [(BASE, "number")]
    for number in range(1, writer.count + 1):
        name = f"reason_{number}"
        columns += [(name, "text"), (f"{name}_points", "number"), (f"{name}_sentence", "text")]
        if not writer.is_exact:
            columns.append((f"{name}_standard_error", "number"))
    if writer.has_support:
        columns += [("support_share", "number"), ("support_field", "text")]
    if writer.has_range:
        columns += [("support_low", "number"), ("support_high", "number")]
    if writer.has_support:
        columns.append(("support_sentence", "text"))
    return columns


def list_fields(writer: ReasonWriter | Width, names: Sequence[str]) -> list[pa.Field]:
    """Return the columns as Arrow fields with other names."""
    return [pa.field(name, _TYPES[kind]) for name, (_, kind) in zip(names, list_columns(writer), strict=True)]


def make_columns(writer: ReasonWriter, schema: Schema, reasons: Sequence[Reasons]) -> list[pa.Array]:
    """Return the columns of `list_columns` for customers.

    Parameters
    ----------
    writer : ReasonWriter
    schema : Schema
    reasons : sequence of Reasons
        Of each customer. Where one has fewer reasons than columns, they are null.
    """
    names = schema.names
    columns = [pa.array([writer.base] * len(reasons), pa.float64())]
    for number in range(writer.count):
        chosen = [own.listed[number] if number < len(own.listed) else None for own in reasons]
        columns += [
            pa.array([None if one is None else names[one.position] for one in chosen], pa.string()),
            pa.array([None if one is None else one.points for one in chosen], pa.float64()),
            pa.array([None if one is None else one.sentence for one in chosen], pa.string()),
        ]
        if not writer.is_exact:
            columns.append(pa.array([None if one is None else one.standard_error for one in chosen], pa.float64()))
    if not writer.has_support:
        return columns
    found = [own.support for own in reasons if own.support is not None]
    columns.append(pa.array([support.share for support in found], pa.float64()))
    columns.append(pa.array([names[support.position] for support in found], pa.string()))
    if writer.has_range:
        columns.append(pa.array([support.low for support in found], pa.float64()))
        columns.append(pa.array([support.high for support in found], pa.float64()))
    columns.append(pa.array([own.support_sentence for own in reasons], pa.string()))
    return columns
