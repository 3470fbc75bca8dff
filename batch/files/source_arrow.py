"""Files that hold columns: Parquet, Arrow's IPC file and its stream, as batches of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import ipc, parquet

from batch.files.blocks import BlockStep, Rows, add_partitions, fill_partitions
from churn.names import normalize, normalize_names

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from batch.columns import Columns
    from batch.files.formats import Format
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput

BATCH_ROWS = 65_536
"""Rows that are scored at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnBlock:
    """Rows that are columns already."""

    batch: pa.RecordBatch

    def parse(self) -> Rows:
        """Return them."""
        return Rows(self.batch, len(self.batch))

    def parse_again(self, wrong: set[str]) -> None:  # noqa: ARG002
        """Say that cells are given as they stand in the file."""
        return


class ParquetTable:
    """A Parquet file.

    Parameters
    ----------
    file : InputFile
    form : Format

    Attributes
    ----------
    schema : pyarrow.Schema
        Its columns, with those its folders tell.
    """

    def __init__(self, file: InputFile, form: Format) -> None:  # noqa: ARG002  as all tables are made
        self._file = file
        with file.open() as opened, parquet.ParquetFile(opened) as table:
            self._own = table.schema_arrow
        self.schema = add_partitions(_normalize(self._own), file)

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on; reading begins with the group of rows that holds it."""
        fields = [field for field in self._own if normalize(field.name.strip()) in columns.names]
        own = [field.name for field in fields]
        # Features that are text are read as they are stored, each different one once.
        words = [field.name for field in fields if _is_text(field.type)]
        words = [name for name in words if normalize(name.strip()) in {*columns.schema.names} - {*columns.keep}]
        with self._file.open() as opened, parquet.ParquetFile(opened, read_dictionary=words) as table:
            total = table.metadata.num_rows
            row = 0
            for group in range(table.num_row_groups):
                end = row + table.metadata.row_group(group).num_rows
                if end > offset:
                    batches = table.iter_batches(BATCH_ROWS, [group], columns=own, use_threads=False)
                    yield from _step(batches, columns, self._file, row, offset, total)
                row = end


class ArrowFile:
    """A file in Arrow's IPC format, as Feather's second version.

    Parameters
    ----------
    file : InputFile
    form : Format

    Attributes
    ----------
    schema : pyarrow.Schema
        Its columns, with those its folders tell.
    """

    def __init__(self, file: InputFile, form: Format) -> None:  # noqa: ARG002
        self._file = file
        with file.open() as opened, ipc.open_file(opened) as reader:
            self.schema = add_partitions(_normalize(reader.schema), file)

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on; the columns not needed are not read."""
        with self._file.open() as opened:
            with ipc.open_file(opened) as reader:
                names = normalize_names(reader.schema.names)
                own = [index for index, name in enumerate(names) if name in columns.names]
            with ipc.open_file(opened, options=ipc.IpcReadOptions(included_fields=own)) as reader:
                count = reader.num_record_batches
                row = 0
                for index in range(count):
                    batch = reader.get_batch(index)
                    end = row + len(batch)
                    if end > offset:
                        for step in _step(_slice(batch), columns, self._file, row, offset, end):
                            yield step._replace(share=(index + step.share) / count)
                    row = end


class ArrowStream:
    """A stream in Arrow's IPC format.

    Parameters
    ----------
    file : InputFile or StandardInput
    form : Format

    Attributes
    ----------
    schema : pyarrow.Schema
        Its columns, with those its folders tell.
    """

    def __init__(self, file: InputFile | StandardInput, form: Format) -> None:  # noqa: ARG002
        self._file = file
        raw = file.open()
        reader = ipc.open_stream(raw)
        # What stands in no file is read once.
        self._opened = None if file.can_reopen else (raw, reader)
        self.schema = add_partitions(_normalize(reader.schema), file)

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield batches from a row on; those before are read and dropped."""
        raw, reader = self._opened or (raw := self._file.open(), ipc.open_stream(raw))
        row = 0
        for batch in reader:
            end = row + len(batch)
            if end > offset:
                share = raw.tell() / self._file.size if self._file.size else float("nan")
                for step in _step(_slice(batch), columns, self._file, row, offset, end):
                    yield step._replace(share=share)
            row = end


def _step(
    batches: Iterable[pa.RecordBatch],
    columns: Columns,
    file: InputFile | StandardInput,
    row: int,
    offset: int,
    total: int,
) -> Iterator[BlockStep]:
    """Yield those of some batches, the first of which begins with a row, that are not before the offset."""
    for batch in batches:
        row += len(batch)
        if row > offset:
            batch = batch.rename_columns(normalize_names(batch.schema.names))
            own = batch.select([name for name in columns.names if name in batch.schema.names])
            yield BlockStep(ColumnBlock(fill_partitions(own, columns, file)), row, row / total)


def _slice(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(batch), BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _normalize(schema: pa.Schema) -> pa.Schema:
    names = normalize_names(schema.names)
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)], schema.metadata)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
