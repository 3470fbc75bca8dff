"""What files of any form are read as: blocks of rows, each of which any thread can turn into columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

from batch.chunk import NO_REJECTS

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy as np
    from numpy.typing import NDArray

    from batch.columns import Columns
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A block's rows as columns.

    Attributes
    ----------
    batch : pyarrow.RecordBatch
        The rows of the table.
    total : int
        All rows, with those that are none of the table.
    places : ndarray of int64, shape (rows of the batch,), or None
        Which of all rows these are, counted from 0; None: all.
    rejects : pyarrow.RecordBatch
        In the form of `batch.chunk.REJECTS`: the rows that are none of the table, by their place counted from 0.
    """

    batch: pa.RecordBatch
    total: int
    places: NDArray[np.int64] | None = None
    rejects: pa.RecordBatch = field(default_factory=lambda: NO_REJECTS)


class Block(Protocol):
    """Some rows, read and not yet understood."""

    def parse(self) -> Rows:
        """Turn them into columns; takes its time, so it is called in a thread of its own.

        Raises
        ------
        TableError
            If they can't be read at all.
        """
        ...

    def parse_again(self, wrong: set[str]) -> Rows | None:
        """Return the rows with the cells of these columns as they are written; None if `parse` gave them so."""
        ...


class BlockStep(NamedTuple):
    """A block of one file.

    Attributes
    ----------
    block : Block
    after : int
        The offset behind it.
    share : float
        How much of the file is read when this block is, 0 to 1.
    """

    block: Block
    after: int
    share: float


class TableFile(Protocol):
    """One file of rows.

    Attributes
    ----------
    schema : pyarrow.Schema
        Its columns, with those its folders tell.
    """

    schema: pa.Schema

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield the blocks from an offset on; the same offset always gives the same blocks.

        The unit is the file's own: bytes of an unpacked CSV file, rows of any other. 0 is the start.
        """
        ...


def add_partitions(schema: pa.Schema, file: InputFile | StandardInput) -> pa.Schema:
    """Append to a file's columns, as text, those its folders tell; a column of the file itself goes before."""
    for name, _ in file.partitions:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def fill_partitions(batch: pa.RecordBatch, columns: Columns, file: InputFile | StandardInput) -> pa.RecordBatch:
    """Append those of the chosen columns that the folders tell."""
    for name, value in file.partitions:
        if name in columns.names and name not in batch.schema.names:
            batch = batch.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(batch)))
    return batch
