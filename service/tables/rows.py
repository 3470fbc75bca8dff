"""Common interface of the readers of tables."""

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
    """Incremental reader of a table."""

    @property
    def buffered(self) -> int:
        """Number of buffered bytes."""

    @property
    def identifier(self) -> pa.DataType | None:
        """Type of the identifiers; None if the table has none."""

    def read(self, data: bytes, *, last: bool) -> Iterator[Rows]:
        """Process received bytes and yield complete rows.

        Raises
        ------
        RequestProblem
            If the format is invalid, a column is missing, or a record or batch is too large.
        """


def check_columns(schema: Schema, names: Sequence[str], found: str = "") -> tuple[str, ...]:
    """Return the columns to read: the identifier (if the table has it) and the features.

    Parameters
    ----------
    schema : Schema
    names : sequence of str
        Columns of the table.
    found : str
        Description of the existing columns for messages. Defaults to their names.

    Raises
    ------
    RequestProblem
        422 if a column is missing or occurs twice.
    """
    try:
        return choose_columns(names, schema, found=found)
    except ColumnsError as error:
        reasons = dict.fromkeys(error.absent, "is missing from the columns")
        reasons |= dict.fromkeys(error.twice, "occurs twice among the columns")
        errors = [
            {"customer": None, "field": name, "reason": reasons[name], "sent": None,
             "allowed": f"one column {name}; found: {error.found}"}
            for name in (schema.identifier, *schema.names) if name in reasons
        ]  # fmt: skip
        raise RequestProblem.invalid(errors, more=False) from None
