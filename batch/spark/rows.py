"""Score rows in a Python worker of Spark; each input row yields one output row with a score or a list of errors."""

from __future__ import annotations

import csv
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from batch.chunk import REJECTS
from batch.chunk import score_rows as score_rows_of_table
from churn.errors import Violation
from churn.tables.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from churn.numerals import Decimal
    from churn.reasons.strongest import ReasonWriter
    from churn.scorer import Scorer

PART, INDEX, NAME, WRONG = "__part", "__index", "__name", "__wrong"
"""Columns of the output: partition; position of the row in it, counted from 0; identifier, null if the table has none;
errors, null for scored rows."""

RAGGED = "__ragged_line__"
"""Column with the line of a CSV if it has too many or too few fields, otherwise null."""


class TextFormat(NamedTuple):
    """Format of the text in a table.

    Attributes
    ----------
    decimals : mapping of str to {".", ",", "?"}
        Decimal separators of the columns; see `churn.tables.csv_format.CsvFormat`.
    delimiter : str
        Delimiter of a CSV.
    """

    decimals: Mapping[str, Decimal] = MappingProxyType({})
    delimiter: str = ","


REASONS = pa.struct([field for field in REJECTS if field.name not in ("row", "identifier")])
"""Type of the errors of a row: the fields of `REJECTS` that describe a value."""


def score_rows(
    scorer: Scorer,
    batch: pa.RecordBatch,
    first: int,
    part: int,
    keep: Sequence[str],
    text: TextFormat,
    writer: ReasonWriter | None = None,
) -> Iterator[pa.RecordBatch]:
    """Score the rows of a batch.

    Parameters
    ----------
    scorer : Scorer
    batch : pyarrow.RecordBatch
        Columns in any order; may include `RAGGED`.
    first : int
        Position of the first row in its partition, counted from 0.
    part : int
        Number of the partition.
    keep : sequence of str
        Columns to copy to the scores.
    text : TextFormat
    writer : ReasonWriter, optional
        By default the scores have no reasons.

    Yields
    ------
    pyarrow.RecordBatch
        The scored rows, then the rejected rows: `PART`, `INDEX`, `NAME`, the columns of `batch.chunk.score_schema`
        except the first, which are null for rejected rows, and `WRONG`.
    """
    chunk = score_rows_of_table(scorer, replace(_take_apart(batch, text), first=first), keep, writer)
    numbers = np.arange(first, first + len(batch))
    scored = numbers[~np.isin(numbers, chunk.rejects.column("row").to_numpy())]
    names, *others = chunk.scores.columns
    if scorer.schema.identifier not in batch.schema.names:
        names = pa.nulls(len(scored), pa.string())
    form = pa.schema(
        [
            (PART, pa.int32()),
            (INDEX, pa.int64()),
            (NAME, pa.string()),
            *list(chunk.scores.schema)[1:],
            (WRONG, pa.list_(REASONS)),
        ]
    )
    parts = pa.array(np.full(len(scored), part, dtype=np.int32))
    columns = [parts, pa.array(scored), names, *others, pa.nulls(len(scored), pa.list_(REASONS))]
    yield pa.record_batch(columns, schema=form)
    if len(chunk.rejects):
        yield _gather(chunk.rejects, part, form)


def _take_apart(batch: pa.RecordBatch, text: TextFormat) -> Rows:
    """Separate lines with too many or too few fields from complete rows."""
    if RAGGED not in batch.schema.names:
        return Rows(batch, len(batch), decimals=text.decimals)
    lines = batch.column(RAGGED)
    whole = np.asarray(lines.is_null())
    allowed = f"{batch.num_columns - 1} fields, as in the header"
    broken = []
    for row in np.flatnonzero(~whole).tolist():
        line = lines[row].as_py()
        fields = len(next(csv.reader([line], delimiter=text.delimiter), []))
        broken.append(Violation(row, "", f"has {fields} field{'s' * (fields != 1)}", line, allowed))
    return Rows(batch.filter(pa.array(whole)), len(batch), broken, np.flatnonzero(whole), text.decimals)


def _gather(rejects: pa.RecordBatch, part: int, form: pa.Schema) -> pa.RecordBatch:
    """Combine all rejects of a row into one row."""
    rows, firsts = np.unique(rejects.column("row").to_numpy(), return_index=True)
    reasons = pa.StructArray.from_arrays([rejects.column(field.name) for field in REASONS], fields=list(REASONS))
    lists = pa.ListArray.from_arrays(pa.array([*firsts, len(rejects)], pa.int32()), reasons)
    identifiers = rejects.column("identifier").take(pa.array(firsts))
    parts = pa.array(np.full(len(rows), part, dtype=np.int32))
    absent = [pa.nulls(len(rows), field.type) for field in form][3:-1]
    return pa.record_batch([parts, rows, identifiers, *absent, lists.cast(form.field(WRONG).type)], schema=form)
