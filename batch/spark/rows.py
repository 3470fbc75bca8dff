"""Rows scored in a Python worker of Spark: one row out for each row in, a score or a list of what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch.chunk import MALFORMED, REJECTS, score_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from churn.scorer import Scorer

PART, INDEX, NAME, WRONG = "__part", "__index", "__name", "__wrong"
"""Where a row stands: its partition and its place there, counted from 0; its identifier, null where the table has no
column of identifiers; and what is wrong with it, else null."""

RAGGED = "__ragged_line__"
"""Column that holds a CSV's line if it has too many or too few fields, else null."""

REASONS = pa.struct([field for field in REJECTS if field.name not in ("row", "identifier")])
"""What rejects say of one value."""


def score_rows(
    scorer: Scorer, batch: pa.RecordBatch, first: int, part: int, keep: Sequence[str]
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

    Yields
    ------
    pyarrow.RecordBatch
        `PART`, `INDEX`, `NAME`, the columns of `batch.chunk.score_schema` but for the first, `WRONG`: the rows that
        could be scored, those that could not, and those that are no rows of the table. A row that has no score has
        only its identifier.
    """
    numbers = np.arange(first, first + len(batch))
    if RAGGED in batch.schema.names:
        lines = batch.column(RAGGED)
        whole = np.asarray(lines.is_null())
        malformed = _reject_lines(lines.filter(pa.array(~whole)), numbers[~whole], fields=batch.num_columns - 1)
        batch, numbers = batch.filter(pa.array(whole)), numbers[whole]
    else:
        malformed = pa.record_batch([[]] * len(REJECTS), schema=REJECTS)
    chunk = score_batch(scorer, batch, numbers, keep)
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
    for rejects in (chunk.rejects, malformed):
        if len(rejects):
            yield _gather(rejects, part, form)


def _reject_lines(lines: pa.Array, numbers: NDArray[np.int64], fields: int) -> pa.RecordBatch:
    count = len(lines)
    absent = pa.nulls(count, pa.string())
    reason, allowed = pa.array([MALFORMED] * count, pa.string()), pa.array([f"{fields} fields"] * count, pa.string())
    return pa.record_batch([numbers, absent, absent, lines, reason, allowed], schema=REJECTS)


def _gather(rejects: pa.RecordBatch, part: int, form: pa.Schema) -> pa.RecordBatch:
    """Make one row of all rejects of a row."""
    rows, firsts = np.unique(rejects.column("row").to_numpy(), return_index=True)
    reasons = pa.StructArray.from_arrays([rejects.column(field.name) for field in REASONS], fields=list(REASONS))
    lists = pa.ListArray.from_arrays(pa.array([*firsts, len(rejects)], pa.int32()), reasons)
    identifiers = rejects.column("identifier").take(pa.array(firsts))
    parts = pa.array(np.full(len(rows), part, dtype=np.int32))
    absent = [pa.nulls(len(rows), field.type) for field in form][3:-1]
    return pa.record_batch([parts, rows, identifiers, *absent, lists.cast(form.field(WRONG).type)], schema=form)
