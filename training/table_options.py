"""How a training table is read, in memory or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from churn.schema import Schema

OnBadRow = Literal["refuse", "drop"]


class TableOptions(TypedDict, total=False):
    """How a training table is read; everything is optional.

    Attributes
    ----------
    label, identifier : str or None
        Label column and identifier column. Detected by default; the label is that of the schema, if there is one.
    positive, negative : str or None
        Label values that mean leaving and staying. Detected by default. If both are given, rows with other values are
        excluded.
    schema : Schema or None
        Schema of the columns. Inferred by default.
    keep, drop : collections of str
        Columns to keep or to drop, regardless of their content.
    category : collection of str
        Numeric columns to use as categories.
    drop_rows : sequence of str
        Exclusions as ``"COLUMN=VALUE"``.
    on_bad_row : {"refuse", "drop"}
        Whether an invalid row is an error, by default, or is dropped and counted.
    decimal : {".", ","} or None
        Decimal separator of numbers in text. Detected in the first rows of a CSV by default.
    """

    label: str | None
    identifier: str | None
    positive: str | None
    negative: str | None
    schema: Schema | None
    keep: Collection[str]
    drop: Collection[str]
    category: Collection[str]
    drop_rows: Sequence[str]
    on_bad_row: OnBadRow
    decimal: str | None
