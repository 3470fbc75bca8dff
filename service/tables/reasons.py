"""The reasons of one table's customers. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.names import name_results
from churn.reasons.columns import list_columns, list_fields, make_columns
from service.observe.reason_metrics import ReasonWork

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from churn.reasons.strongest import Reason, ReasonWriter
    from churn.schema import Schema
    from churn.tables.scored import ScoredRows


class TableReasons:
    """Explains the customers of one table.

    Parameters
    ----------
    writer : ReasonWriter
    schema : Schema
    max_customers : int

    Attributes
    ----------
    fields : list of pyarrow.Field
        Columns of the reasons.
    max_customers : int
        Maximum number of rows of the table.
    work : ReasonWork
    """

    def __init__(self, writer: ReasonWriter, schema: Schema, max_customers: int) -> None:
        self._writer, self._schema = writer, schema
        self.fields = list_fields(writer, name_results([name for name, _ in list_columns(writer)], [schema.identifier]))
        self.max_customers = max_customers
        self.work = ReasonWork()

    def explain(self, scored: ScoredRows) -> Iterator[list[Reason]]:
        """Return an iterator over the reasons of each accepted row."""
        return self.work.watch(self._writer.write_each(scored.raw, scored.probabilities))

    def make_columns(self, reasons: Sequence[Sequence[Reason]]) -> list[pa.Array]:
        """Return the columns `fields` for customers."""
        return make_columns(self._writer, self._schema, reasons)
