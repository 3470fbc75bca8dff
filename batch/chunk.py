"""Score a batch of rows: every row becomes either a score or a reject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from churn import identifiers
from churn.arrow import encode_batch
from churn.names import ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.scorer import Scorer

BLOCK_ROWS = 8192
"""Rows preprocessed and scored together; small enough for intermediate results to stay in the CPU cache."""

REJECTS = pa.schema(
    [
        ("row", pa.int64()),
        ("identifier", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
        ("allowed", pa.string()),
    ]
)
"""Schema of rejects, one line per value that can't be scored. ``row`` is the number of the input row, counted from 1;
it is repeated if a row has several such values. ``identifier`` is null if the input has no identifier column."""

MALFORMED = "has a wrong number of fields"
"""Reason for a line with too many or too few fields; its column is null."""

NO_REJECTS = pa.record_batch([pa.array([], field.type) for field in REJECTS], schema=REJECTS)


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Result of scoring a batch of rows.

    Attributes
    ----------
    scores : pyarrow.RecordBatch
        Rows that could be scored, in order, with the schema of `score_schema`.
    rejects : pyarrow.RecordBatch
        Values that could not be scored, in the order of the rows, with the schema `REJECTS`.
    rows : int
        Number of input rows.
    raw : ndarray of float64, shape (scored rows, features)
    probabilities : ndarray of float64, shape (scored rows,)
    leavers : int
    """

    scores: pa.RecordBatch
    rejects: pa.RecordBatch
    rows: int
    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    leavers: int

    @property
    def rejected(self) -> int:
        """Number of rows that could not be scored."""
        return self.rows - len(self.scores)


def score_schema(schema: Schema, kept: Sequence[pa.Field] = (), *, has_identifier: bool = True) -> pa.Schema:
    """Return the schema of scores: identifier as text, kept columns, probability, decision, model version.

    Without an identifier, the first column is ``row``, the number of the row.
    """
    return pa.schema(
        [
            (schema.identifier, pa.string()) if has_identifier else (ROW, pa.int64()),
            *kept,
            ("probability", pa.float64()),
            ("churn", pa.bool_()),
            ("model_version", pa.string()),
        ]
    )


def score_batch(
    scorer: Scorer, batch: pa.RecordBatch, first_row: int | NDArray[np.int64], keep: Sequence[str] = ()
) -> Chunk:
    """Score the rows of a batch.

    Parameters
    ----------
    scorer : Scorer
    batch : pyarrow.RecordBatch
        Columns are found by name, in any order; numbers may be given as text.
    first_row : int or ndarray of int64, shape (n,)
        Number of the first row, or of each, counted from 1.
    keep : sequence of str
        Columns to copy to the scores.
    """
    count = len(batch)
    numbers = np.arange(first_row, first_row + count) if isinstance(first_row, int) else first_row
    encoded = encode_batch(scorer.schema, batch)
    identifier = scorer.schema.identifier
    has_identifier = identifier in batch.schema.names
    if has_identifier:
        names = identifiers.as_text(batch.column(identifier), identifier)
    else:
        names = pa.array(numbers, pa.int64())
    kept = [batch.column(name) for name in keep]
    raw = encoded.raw
    rejects = NO_REJECTS
    if encoded.violations:
        bad = encoded.violations
        rows = np.array([violation.row for violation in bad])
        rejects = pa.record_batch(
            [
                pa.array(numbers[rows], pa.int64()),
                names.take(pa.array(rows)) if has_identifier else pa.nulls(len(rows), pa.string()),
                pa.array([violation.field for violation in bad], pa.string()),
                pa.array([_as_text(violation.sent) for violation in bad], pa.string()),
                pa.array([violation.reason for violation in bad], pa.string()),
                pa.array([violation.allowed for violation in bad], pa.string()),
            ],
            schema=REJECTS,
        )
        fine = pa.array(~encoded.wrong)
        names, kept, raw = names.filter(fine), [column.filter(fine) for column in kept], raw[~encoded.wrong]
    probabilities = score_blocks(scorer, raw)
    decisions = scorer.decide(probabilities)
    fields = [batch.schema.field(name) for name in keep]
    version = pa.array([scorer.version]).take(pa.array(np.zeros(len(raw), dtype=np.int8)))
    scores = pa.record_batch(
        [names, *kept, probabilities, decisions, version],
        schema=score_schema(scorer.schema, fields, has_identifier=has_identifier),
    )
    return Chunk(scores, rejects, count, raw, probabilities, int(np.count_nonzero(decisions)))


def score_blocks(scorer: Scorer, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of a validated raw matrix, computed in blocks of rows."""
    probabilities = np.empty(len(raw), dtype=np.float64)
    for start in range(0, len(raw), BLOCK_ROWS):
        probabilities[start : start + BLOCK_ROWS] = scorer.score_raw(raw[start : start + BLOCK_ROWS])
    return probabilities


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)
