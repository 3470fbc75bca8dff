"""Score a batch of rows: every row becomes either a score or a reject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from churn import identifiers
from churn.names import ROW, name_results
from churn.reasons.columns import list_columns, list_fields, make_columns
from churn.reasons.explainer import Explainer
from churn.reasons.strongest import ReasonWriter
from churn.tables.rows import encode_rows
from churn.tables.scored import ScoredRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.reasons.strongest import Wanted
    from churn.schema import Schema
    from churn.scorer import Scorer
    from churn.tables.rows import Rows

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
"""Schema of rejects, with one row per invalid value. ``row`` is the number of the input row, counted from 1, and is
repeated if a row has several invalid values. ``column`` is null if the whole line is invalid, ``identifier`` if the
input has no identifier column."""

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
    scored : ScoredRows
        The same rows as numbers, for counting.
    """

    scores: pa.RecordBatch
    rejects: pa.RecordBatch
    scored: ScoredRows


ANSWER = ("probability", "churn", "model_version")
"""Columns of the scores."""


def name_answer(identifier: str, keep: Iterable[str], reasons: Sequence[str] = ()) -> list[str]:
    """Return the names of `ANSWER` and of the columns of reasons, prefixed where another column has the name."""
    return name_results((*ANSWER, *reasons), (identifier, *keep))


def open_reasons(scorer: Scorer, wanted: Wanted | None) -> ReasonWriter | None:
    """Return the writer of the reasons that a job wants, if it wants any.

    Raises
    ------
    MissingBackgroundError
        If the model version has no background.
    """
    return None if wanted is None else ReasonWriter(Explainer(scorer), scorer.schema, wanted)


def score_schema(
    schema: Schema,
    kept: Sequence[pa.Field] = (),
    *,
    has_identifier: bool = True,
    writer: ReasonWriter | None = None,
) -> pa.Schema:
    """Return the schema of scores: identifier as text, kept columns, probability, decision, model version, reasons.

    Without an identifier, the first column is ``row``, the number of the row. The columns behind the kept ones are
    named by `name_answer`.
    """
    reasons = [] if writer is None else [name for name, _ in list_columns(writer)]
    names = name_answer(schema.identifier, [field.name for field in kept], reasons)
    probability, decision, version = names[: len(ANSWER)]
    return pa.schema(
        [
            (schema.identifier, pa.string()) if has_identifier else (ROW, pa.int64()),
            *kept,
            (probability, pa.float64()),
            (decision, pa.bool_()),
            (version, pa.string()),
            *([] if writer is None else list_fields(writer, names[len(ANSWER) :])),
        ]
    )


def score_rows(scorer: Scorer, rows: Rows, keep: Sequence[str] = (), writer: ReasonWriter | None = None) -> Chunk:
    """Score rows of a table.

    Parameters
    ----------
    scorer : Scorer
    rows : Rows
        Columns by name, in any order; numbers as numbers or as text.
    keep : sequence of str
        Columns to copy to the scores.
    writer : ReasonWriter, optional
        By default the scores have no reasons.
    """
    encoded = encode_rows(scorer.schema, rows)
    batch, identifier = rows.batch, scorer.schema.identifier
    has_identifier = identifier in batch.schema.names
    if has_identifier:
        names = identifiers.as_text(batch.column(identifier), identifier)
    else:
        names = pa.array(rows.first + rows.known_places, pa.int64())
    kept = [batch.column(name) for name in keep]
    raw, rejects = encoded.accepted, NO_REJECTS
    if encoded.violations:
        told = names if has_identifier else pa.nulls(len(batch), pa.string())
        rejects = _list_rejects(encoded.violations, told, rows)
        known = pa.array(~encoded.wrong[rows.known_places])
        names, kept = names.filter(known), [column.filter(known) for column in kept]
    probabilities = score_blocks(scorer, raw)
    decisions = scorer.decide(probabilities)
    fields = [batch.schema.field(name) for name in keep]
    version = pa.array([scorer.version]).take(pa.array(np.zeros(len(raw), dtype=np.int8)))
    reasons: list[pa.Array] = []
    if writer is not None:
        reasons = make_columns(writer, scorer.schema, writer.write(raw, probabilities)[0])
    scores = pa.record_batch(
        [names, *kept, probabilities, decisions, version, *reasons],
        schema=score_schema(scorer.schema, fields, has_identifier=has_identifier, writer=writer),
    )
    return Chunk(scores, rejects, ScoredRows.of(encoded, raw, probabilities, decisions))


def _list_rejects(violations: Sequence[Violation], names: pa.Array, rows: Rows) -> pa.RecordBatch:
    """Return a reject for each violation; an invalid line has no identifier."""
    found = np.array([one.row for one in violations])
    places = np.full(rows.total, -1)
    places[rows.known_places] = np.arange(len(rows.batch))
    known = places[found]
    return pa.record_batch(
        [
            pa.array(rows.first + found, pa.int64()),
            names.take(pa.array(known, mask=known < 0)),
            pa.array([one.field or None for one in violations], pa.string()),
            pa.array([_as_text(one.sent) for one in violations], pa.string()),
            pa.array([one.reason for one in violations], pa.string()),
            pa.array([one.allowed for one in violations], pa.string()),
        ],
        schema=REJECTS,
    )


def score_blocks(scorer: Scorer, raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of a validated raw matrix, computed in blocks of rows.

    Parameters
    ----------
    scorer : Scorer
    raw : ndarray of float64, shape (n, features)
    """
    probabilities = np.empty(len(raw), dtype=np.float64)
    for start in range(0, len(raw), BLOCK_ROWS):
        probabilities[start : start + BLOCK_ROWS] = scorer.score_raw(raw[start : start + BLOCK_ROWS])
    return probabilities


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)
