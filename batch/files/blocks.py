"""Blocks of rows, the common interface of all file formats; blocks are parsed in any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Generator

    from batch.columns import Columns
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput
    from churn.tables.rows import Rows


SLOW_ROWS, SLOW_BYTES = 1024, 1 << 16
"""Rows, and bytes of a CSV, of a block where each row takes milliseconds: about two seconds, as between two commits."""


class Block(Protocol):
    """Rows that have been read but not parsed."""

    def parse(self) -> Rows:
        """Parse the rows to columns; called in a worker thread, because it is slow.

        Raises
        ------
        TableError
            If the block can't be parsed.
        """
        ...


class BlockStep(NamedTuple):
    """A block of one file.

    Attributes
    ----------
    block : Block
    after : int
        Offset of the next block.
    share : float
        Fraction of the file up to the end of the block, from 0 to 1.
    """

    block: Block
    after: int
    share: float


class TableFile(Protocol):
    """Interface of a file of rows.

    Attributes
    ----------
    schema : pyarrow.Schema
        Columns of the file, including partition columns.
    described : str
        Description of the columns for messages about missing columns; empty for the list of names.
    """

    schema: pa.Schema
    described: str

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield the blocks from an offset on; the blocks depend only on the offset.

        The unit of offsets is bytes of the uncompressed file for CSV, and rows for other formats. 0 is the start.
        """
        ...


def add_partitions(schema: pa.Schema, file: InputFile | StandardInput) -> pa.Schema:
    """Append partition columns, as strings, to the columns of a file; columns of the file take precedence."""
    for name, _ in file.partitions:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def fill_partitions(batch: pa.RecordBatch, columns: Columns, file: InputFile | StandardInput) -> pa.RecordBatch:
    """Append the selected partition columns to a batch."""
    for name, value in file.partitions:
        if name in columns.names and name not in batch.schema.names:
            batch = batch.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(batch)))
    return batch
