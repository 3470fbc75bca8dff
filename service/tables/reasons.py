"""The reasons of one table's customers. Importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from churn.names import name_results
from churn.reasons.columns import Width, list_columns, list_fields, make_columns
from churn.reasons.record import write_reasons
from service.observe.reason_metrics import ReasonWork

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from churn.reasons.strongest import Reasons, ReasonWriter
    from churn.schema import Schema
    from churn.tables.scored import ScoredRows
    from service.tables.split import Split


class RowWriter(NamedTuple):
    """What writes the reasons of a model, and its schema."""

    writer: ReasonWriter
    schema: Schema


class TableReasons:
    """Explains the customers of one table.

    Parameters
    ----------
    served : RowWriter
        Of the served version.
    max_customers : int
    canary : RowWriter, optional
        Of the canary, for the rows that it scores.

    Attributes
    ----------
    fields : list of pyarrow.Field
        Columns of the reasons.
    max_customers : int
        Maximum number of rows of the table.
    work : ReasonWork
    """

    def __init__(self, served: RowWriter, max_customers: int, canary: RowWriter | None = None) -> None:
        self._writers = [served] if canary is None else [served, canary]
        width = Width.of([one.writer for one in self._writers])
        names = name_results([name for name, _ in list_columns(width)], [served.schema.identifier])
        self.fields = list_fields(width, names)
        self._names = [name for name, _ in list_columns(width)]
        self.max_customers = max_customers
        self.work = ReasonWork()

    def explain(self, scored: ScoredRows, split: Split | None = None) -> Iterator[Reasons]:
        """Return an iterator over the reasons of each accepted row: of those that the canary scored at the end."""
        return self.work.watch(self._explain_each(scored, split))

    def _explain_each(self, scored: ScoredRows, split: Split | None) -> Iterator[tuple[Reasons, int]]:
        served, probabilities = self._writers[0].writer, scored.probabilities
        if split is None:
            yield from served.write_each(scored.raw, probabilities)
            return
        yield from served.write_each(scored.raw[~split.chosen], probabilities[~split.chosen])
        yield from self._writers[-1].writer.write_each(split.raw, probabilities[split.chosen])

    def make_columns(self, reasons: Sequence[Reasons], split: Split | None = None) -> list[pa.Array]:
        """Return the columns `fields`, in the order of the rows, for what `explain` has returned."""
        parts = [
            dict(zip((name for name, _ in list_columns(writer)), make_columns(writer, schema, part), strict=True))
            for (writer, schema), part in self._divide(reasons, split)
        ]
        columns = []
        for name, field in zip(self._names, self.fields, strict=True):
            found = [part.get(name, pa.nulls(len(part["base"]), field.type)) for part in parts]
            columns.append(found[0] if split is None else pa.concat_arrays(found).take(pa.array(_order(split.chosen))))
        return columns

    def write(self, reasons: Sequence[Reasons], split: Split | None = None) -> list[str]:
        """Return the reasons of each row as JSON, for records, likewise."""
        written = [
            write_reasons(schema, found.listed) for (_, schema), part in self._divide(reasons, split) for found in part
        ]
        return written if split is None else [written[place] for place in _order(split.chosen).tolist()]

    def _divide(self, reasons: Sequence[Reasons], split: Split | None) -> list[tuple[RowWriter, Sequence[Reasons]]]:
        """Return the reasons with the model that they are of."""
        if split is None:
            return [(self._writers[0], reasons)]
        served = len(reasons) - len(split.raw)
        return [(self._writers[0], reasons[:served]), (self._writers[-1], reasons[served:])]


def _order(chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the place of each row where the chosen rows follow the others."""
    return np.where(chosen, np.cumsum(chosen) + np.count_nonzero(~chosen), np.cumsum(~chosen)) - 1
