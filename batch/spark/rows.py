"""Rows scored in a Python worker of Spark: one row out for each row in, a score or a list of what is wrong with it."""

from __future__ import annotations

import csv
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
    from churn.scorer import Scorer

PART, INDEX, NAME, WRONG = "__part", "__index", "__name", "__wrong"
"""Where a row stands: its partition and its place there, counted from 0; its identifier, null where the table has no
column of identifiers; and what is wrong with it, else null."""

RAGGED = "__ragged_line__"
"""Column that holds a CSV's line if it has too many or too few fields, else null."""


class TextForm(NamedTuple):
    """How the text of a table is written.

    Attributes
    ----------
    decimals : mapping of str to {".", ",", "?"}
        How columns write numbers, as in `churn.tables.form.Form`.
    delimiter : str
        What separates the fields of a CSV.
    """

    decimals: Mapping[str, Decimal] = MappingProxyType({})
    delimiter: str = ","


REASONS = pa.struct([field for field in REJECTS if field.name not in ("row", "identifier")])
"""What rejects say of one value."""


def score_rows(
    scorer: Scorer, batch: pa.RecordBatch, first: int, part: int, keep: Sequence[str], text: TextForm
) -> Iterator[pa.RecordBatch]:
    """Score the rows of a batch.

    Parameters
    ----------
    scorer : Scorer
    batch : pyarrow.RecordBatch
        Columns by name, in any order; maybe `RAGGED`.
    first : int
        Place of the first row in its partition, counted from 0.
    part : int
        The partition.
    keep : sequence of str
        Columns to pass through.
    text : TextForm

    Yields
    ------
    pyarrow.RecordBatch
        `PART`, `INDEX`, `NAME`, the columns of `batch.chunk.score_schema` but for the first, `WRONG`: the rows that
        could be scored, and those that could not. A row that has no score has only its identifier.
    """
    chunk = score_rows_of_table(scorer, _take_apart(batch, text), first, keep)
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


def _take_apart(batch: pa.RecordBatch, text: TextForm) -> Rows:
    """Tell lines with too many or too few fields from rows."""
    if RAGGED not in batch.schema.names:
        return Rows(batch, len(batch), decimals=text.decimals)
    lines = batch.column(RAGGED)
    whole = np.asarray(lines.is_null())
    allowed = f"{batch.num_columns - 1} fields, as the header has"
    broken = []
    for row in np.flatnonzero(~whole).tolist():
        line = lines[row].as_py()
        fields = len(next(csv.reader([line], delimiter=text.delimiter), []))
        broken.append(Violation(row, "", f"has {fields} field{'s' * (fields != 1)}", line, allowed))
    return Rows(batch.filter(pa.array(whole)), len(batch), broken, np.flatnonzero(whole), text.decimals)


def _gather(rejects: pa.RecordBatch, part: int, form: pa.Schema) -> pa.RecordBatch:
    """Make one row of all rejects of a row."""
    rows, firsts = np.unique(rejects.column("row").to_numpy(), return_index=True)
    reasons = pa.StructArray.from_arrays([rejects.column(field.name) for field in REASONS], fields=list(REASONS))
    lists = pa.ListArray.from_arrays(pa.array([*firsts, len(rejects)], pa.int32()), reasons)
    identifiers = rejects.column("identifier").take(pa.array(firsts))
    parts = pa.array(np.full(len(rows), part, dtype=np.int32))
    absent = [pa.nulls(len(rows), field.type) for field in form][3:-1]
    return pa.record_batch([parts, rows, identifiers, *absent, lists.cast(form.field(WRONG).type)], schema=form)
