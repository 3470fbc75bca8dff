"""Scores a file of customers, batch by batch, into a file that appears when it is whole."""

from __future__ import annotations

import csv as text_csv
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from tqdm import tqdm

from churn.arrow import encode_batch
from churn.errors import InvalidCustomersError, TableError
from churn.files import find_delimiter, write_aside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from churn.schema import Schema
    from churn.scorer import Scorer

BLOCK_BYTES = 8 << 20
"""Bytes of a CSV file read at once."""

BATCH_ROWS = 65_536
"""Rows of a Parquet file read at once."""

LISTED = 10
"""How many bad values a message lists."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch job did."""

    customers: int
    leavers: int
    seconds: float

    @property
    def customers_per_second(self) -> float:
        """Customers scored in a second, reading and writing included."""
        return self.customers / self.seconds if self.seconds else 0.0


def score_file(scorer: Scorer, source: Path, output: Path) -> Summary:
    """Score every customer of a file, in order.

    Parameters
    ----------
    scorer : Scorer
    source : Path
        ``.csv`` (comma or semicolon) or ``.parquet``; columns by name in any order, others are ignored.
    output : Path
        ``.csv`` or ``.parquet``; gets the identifier (where the file holds one, else the row, counted from 1),
        ``probability``, ``churn`` and ``model_version``.

    Raises
    ------
    TableError
        If the file can't be read or a value can't be scored; the message names row and column. Nothing is written
        then.
    """
    started = time.perf_counter()
    customers = leavers = 0
    if not source.is_file():
        raise TableError(f"{source}: there is no such file")
    if not output.parent.is_dir():
        raise TableError(f"{output}: there is no folder {output.parent}")
    if output.exists() and output.samefile(source):
        raise TableError(f"{output}: the output would overwrite the input; name another file")
    batches = _read_batches(source, scorer.schema)
    with write_aside(output) as aside, _open_writer(output, aside, scorer.schema) as writer:
        for batch in tqdm(batches, desc="scoring", unit="batch", disable=None):
            answer = _score_batch(scorer, source, batch, first_row=customers + 1)
            writer.write(answer)
            customers += len(answer)
            leavers += int(np.count_nonzero(answer.column("churn").to_numpy(zero_copy_only=False)))
    return Summary(customers, leavers, time.perf_counter() - started)


def _read_batches(source: Path, schema: Schema) -> Iterator[pa.RecordBatch]:
    """Yield the schema's columns and the identifier, if there is one; a CSV's cells as text."""
    try:
        if source.suffix.lower() in (".parquet", ".pq"):
            file = parquet.ParquetFile(source)
            columns = _choose_columns(source, schema, file.schema_arrow.names)
            yield from file.iter_batches(BATCH_ROWS, columns=columns)
        elif source.suffix.lower() in (".csv", ".txt"):
            yield from _read_csv(source, schema)
        else:
            raise TableError(f"{source}: unknown kind of file; allowed: .csv, .txt, .parquet, .pq")
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise TableError(f"{source}: can't be read: {_find_ragged_line(source) or error}") from error


def _read_csv(source: Path, schema: Schema) -> Iterator[pa.RecordBatch]:
    with source.open(encoding="utf-8-sig", newline="") as file:
        delimiter = find_delimiter(file.readline())
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with csv.open_csv(source, parse_options=parse, read_options=csv.ReadOptions(block_size=BLOCK_BYTES)) as reader:
        names = [name.strip() for name in reader.schema.names]
    columns = _choose_columns(source, schema, names)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), include_columns=columns, strings_can_be_null=False
    )
    with csv.open_csv(
        source,
        parse_options=parse,
        read_options=csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names, skip_rows_after_names=1),
        convert_options=convert,
    ) as reader:
        yield from reader


def _find_ragged_line(source: Path) -> str | None:
    """Say which line of a CSV file has too many or too few fields, which Arrow's own message does not."""
    if source.suffix.lower() not in (".csv", ".txt"):
        return None
    with source.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = text_csv.reader(file, delimiter=find_delimiter(file.readline()))
        file.seek(0)
        width, line = None, 1
        for row in reader:
            width = width or len(row)
            if row and len(row) != width:
                return f"line {line}: {len(row)} fields, and the header has {width}"
            line = reader.line_num + 1
    return None


def _choose_columns(source: Path, schema: Schema, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{source}: the header names a column twice: {', '.join(twice)}")
    absent = [name for name in schema.names if name not in names]
    if absent:
        raise TableError(f"{source}: columns are absent: {', '.join(absent)}; there is: {', '.join(names)}")
    return [*([schema.identifier] if schema.identifier in names else []), *schema.names]


def _score_batch(scorer: Scorer, source: Path, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
    try:
        raw = encode_batch(scorer.schema, batch).check()
    except InvalidCustomersError as error:
        shown = [
            f"  row {first_row + bad.row}, column {bad.field}: {bad.sent!r} {bad.reason}; allowed: {bad.allowed}"
            for bad in error.violations[:LISTED]
        ]
        more = ["  …"] if len(error.violations) > LISTED else []
        raise TableError(
            "\n".join([f"{source}: values can't be scored, nothing was written:", *shown, *more])
        ) from error
    probabilities = scorer.score_raw(raw)
    identifier = scorer.schema.identifier
    if identifier in batch.schema.names:
        names = batch.column(identifier).cast(pa.string())
    else:
        names = pa.array([str(row) for row in range(first_row, first_row + len(raw))])
    return pa.record_batch(
        [names, probabilities, scorer.decide(probabilities), pa.array([scorer.version] * len(raw))],
        schema=_answer_schema(scorer.schema),
    )


def _answer_schema(schema: Schema) -> pa.Schema:
    return pa.schema(
        [
            (schema.identifier, pa.string()),
            ("probability", pa.float64()),
            ("churn", pa.bool_()),
            ("model_version", pa.string()),
        ]
    )


def _open_writer(output: Path, aside: Path, schema: Schema) -> AbstractContextManager[Any]:
    form = _answer_schema(schema)
    if output.suffix.lower() in (".parquet", ".pq"):
        writer: AbstractContextManager[Any] = parquet.ParquetWriter(aside, form)
    elif output.suffix.lower() in (".csv", ".txt"):
        writer = csv.CSVWriter(aside, form, write_options=csv.WriteOptions(quoting_style="needed"))
    else:
        raise TableError(f"{output}: unknown kind of file; allowed: .csv, .txt, .parquet, .pq")
    return writer
