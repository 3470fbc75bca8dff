"""What the readers of tables have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from churn.tables.columns import ColumnsError, choose_columns
from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from churn.schema import Schema
    from churn.tables.rows import Rows


class TableReader(Protocol):
    """Reads a table that arrives bit by bit."""

    @property
    def buffered(self) -> int:
        """Bytes that wait for more."""

    @property
    def identifier(self) -> pa.DataType | None:
        """Type of the identifiers; None if the table has none."""

    def read(self, data: bytes, *, last: bool) -> Iterator[Rows]:
        """Take what arrived and yield the rows that are whole.

        Raises
        ------
        RequestProblem
            If it is not such a table, lacks a column, or a part that must be held whole is too large.
        """


def check_columns(schema: Schema, names: Sequence[str], found: str = "") -> tuple[str, ...]:
    """Return the columns to read: the identifier, if there is one, and the features.

    Parameters
    ----------
    schema : Schema
    names : sequence of str
        The table's columns.
    found : str
        What a message says there is; the columns if not given.

    Raises
    ------
    RequestProblem
        422 if a column is absent or stands twice.
    """
    try:
        return choose_columns(names, schema, found=found)
    except ColumnsError as error:
        reasons = dict.fromkeys(error.absent, "is absent from the columns")
        reasons |= dict.fromkeys(error.twice, "stands twice among the columns")
        errors = [
            {"customer": None, "field": name, "reason": reasons[name], "sent": None,
             "allowed": f"one column {name}; there is: {error.found}"}
            for name in (schema.identifier, *schema.names) if name in reasons
        ]  # fmt: skip
        raise RequestProblem.invalid(errors, more=False) from None
