"""What files of any form are read as: blocks of rows, each of which any thread can turn into columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Generator

    from batch.columns import Columns
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput
    from churn.tables.rows import Rows


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
    described : str
        What a message about an absent column says there is; the columns if empty.
    """

    schema: pa.Schema
    described: str

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
