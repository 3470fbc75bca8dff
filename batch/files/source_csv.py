"""Read CSV files, compressed or not, as blocks of complete records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch.files.blocks import SLOW_BYTES, BlockStep, add_partitions, fill_partitions
from churn.errors import TableError
from churn.tables.cells import CellParser
from churn.tables.csv_file import CsvFile
from churn.tables.encoding import NotUtf8Error, advise_conversion

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from batch.columns import Columns
    from batch.files.formats import Format
    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput
    from churn.schema import Schema
    from churn.tables.cells import RecordBlock
    from churn.tables.rows import Rows


@dataclass(frozen=True, slots=True, eq=False)
class CsvBlock:
    """A block of complete records with its parser."""

    parser: CellParser
    block: RecordBlock
    columns: Columns
    file: InputFile | StandardInput

    def parse(self) -> Rows:
        """Parse the records to columns."""
        rows = self.parser.parse(self.block)
        if not self.file.partitions:
            return rows

        def reread(names: Collection[str]) -> pa.RecordBatch | None:
            batch = rows.reread(names) if rows.reread else None
            return None if batch is None else fill_partitions(batch, self.columns, self.file)

        return replace(rows, batch=fill_partitions(rows.batch, self.columns, self.file), reread=reread)


class CsvTable:
    """A CSV file with a header.

    Parameters
    ----------
    file : InputFile or StandardInput
    form : Format
    schema : Schema
        Schema of the model.
    decimal : {".", ","}, optional
        Decimal separator. Detected in the first rows by default.
    is_slow : bool
        Whether a row takes milliseconds, so that blocks should be small.

    Attributes
    ----------
    schema : pyarrow.Schema
        Columns of the file, all strings, including partition columns.
    described : str
        The columns and how the header was read, for messages.

    Raises
    ------
    TableError
        If the format of the table can't be determined.
    """

    def __init__(
        self,
        file: InputFile | StandardInput,
        form: Format,
        schema: Schema,
        decimal: str | None,
        *,
        is_slow: bool = False,
    ) -> None:
        self._file = file
        self._form = form
        numeric = [feature.name for feature in schema.features if not feature.is_text]
        try:
            self._csv = CsvFile(
                self._open,
                schema.names,
                numeric,
                decimal,
                can_reopen=file.can_reopen,
                can_seek=form.codec is None,
                block_bytes=SLOW_BYTES if is_slow else None,
            )
        except TableError as error:
            path = Path(file.name) if form.codec is None and Path(file.name).is_file() else None
            advice = f". {advise_conversion(path)}" if isinstance(error, NotUtf8Error) else ""
            raise TableError(f"{file.name}: can't be read: {error}{advice}") from None
        self.schema = add_partitions(pa.schema([(name, pa.string()) for name in self._csv.form.names]), file)
        self.described = self._csv.form.described

    def blocks(self, columns: Columns, offset: int) -> Generator[BlockStep, None, None]:
        """Yield blocks from a byte of the uncompressed file on."""
        parser = CellParser(self._csv.form, columns.names, columns.schema.features, columns.keep)
        for block, after in self._csv.blocks(offset):
            share = self._raw.tell() / self._file.size if self._file.size else float("nan")
            yield BlockStep(CsvBlock(parser, block, columns, self._file), after, share)

    def _open(self) -> Any:  # noqa: ANN401  a stream of Arrow
        self._raw = self._file.open()
        return self._raw if self._form.codec is None else pa.CompressedInputStream(self._raw, self._form.codec)
