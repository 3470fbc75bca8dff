"""What the readers of tables hand on: some rows, as they came."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from service.errors import RequestProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.schema import Schema


class Rows(NamedTuple):
    """Rows that follow one another in a table.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        The schema's columns and, if the table has one, the identifier.
    broken : list of Violation
        What is wrong, by their position among all, with rows that have no such columns, and with identifiers.
    places : ndarray of int64, shape (len(batch),), or None
        Position of each row of `batch` among all; None if they are all.
    total : int
        All rows.
    read_texts : callable or None
        Returns the batch with every cell as it was written, where that is something else.
    find_lines : callable or None
        Returns the line each row begins on, counted from 1, where there are lines.
    """

    batch: pa.RecordBatch
    total: int
    broken: Sequence[Violation] = ()
    places: NDArray[np.int64] | None = None
    read_texts: Callable[[], pa.RecordBatch] | None = None
    find_lines: Callable[[], Sequence[int]] | None = None


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


def check_columns(schema: Schema, names: Sequence[str]) -> list[str]:
    """Return the columns to read: the identifier, if there is one, and the features.

    Columns the schema does not know are ignored, as `churn score` does; so none that it knows may be absent, not even
    where values may be missing: a misspelt name would pass for a gap in every row.

    Raises
    ------
    RequestProblem
        422 if a column is absent or stands twice.
    """
    wanted = [*([schema.identifier] if schema.identifier in names else []), *schema.names]
    errors = [
        {"customer": None, "field": name, "reason": reason, "sent": None, "allowed": f"one column {name}"}
        for name in wanted
        for reason, is_wrong in (
            ("is absent from the columns", name not in names),
            ("stands twice among the columns", names.count(name) > 1),
        )
        if is_wrong
    ]
    if errors:
        raise RequestProblem.invalid(errors, more=False)
    return wanted
