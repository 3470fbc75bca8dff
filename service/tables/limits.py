"""Limits on tables, and their check on decoded cells. Independent of HTTP; importing it loads pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.tables.shared_texts import find_longest, measure_texts
from service.errors import RequestProblem

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from service.settings import Settings


FEW_BYTES = 2**20
"""Size in bytes up to which the texts of a block need not be measured one by one."""


class TableLimits(NamedTuple):
    """Limits on what must be held in memory of a table.

    Attributes
    ----------
    part : int
        Maximum size in bytes of an Arrow message, and of all dictionaries together.
    record : int
        Maximum length in bytes of a CSV record.
    columns : int
        Maximum number of columns.
    cell : int
        Maximum length in bytes of a text in a column that is read.
    """

    part: int = 16 * 2**20
    record: int = 2**20
    columns: int = 2000
    cell: int = 4096

    @classmethod
    def of(cls, settings: Settings) -> TableLimits:
        """Return the limits that are set."""
        part = settings.max_body_bytes
        return cls(part, min(part, settings.max_record_bytes), settings.max_columns, settings.max_cell_bytes)

    def check_columns(self, columns: int) -> None:
        """Check the number of columns of a table.

        Raises
        ------
        RequestProblem
            413 if there are too many.
        """
        if columns > self.columns:
            raise RequestProblem.too_many_columns(columns, self.columns)

    def check_cells(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """Check the lengths of texts.

        Returns
        -------
        ndarray of int64, shape (len(batch),)
            Length in bytes of all texts of each row; an upper bound if all are short.

        Raises
        ------
        RequestProblem
            413 if a text is too long.
        """
        longest = [find_longest(column) for column in batch.columns]
        total = np.full(len(batch), sum(longest), dtype=np.int64)
        if max(longest, default=0) <= self.cell and len(batch) * sum(longest) <= FEW_BYTES:
            return total  # all texts are short
        total[:] = 0
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            lengths = measure_texts(column)
            if lengths is None or not len(lengths):
                continue
            if lengths.max() > self.cell:
                what = f"a text of the column {name} has {lengths.max()} bytes; it"
                raise RequestProblem.part_too_large(what, self.cell, "is it the right column?", "max_cell_bytes")
            total += lengths
        return total
