"""Score a table block by block. Independent of HTTP; importing it loads pyarrow."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from churn import identifiers
from churn.columns import MAX_VIOLATIONS
from churn.names import ROW
from churn.tables.rows import encode_rows
from churn.tables.scored import ScoredRows
from churn.tables.tally import RowCounts
from service.errors import RequestProblem, shorten
from service.observe.stages import run_stages
from service.tables.arrow_table import ArrowReader, ArrowWriter
from service.tables.blocks import CODEC, PROGRESS, ResponseBlock, ResponsePart
from service.tables.csv_table import CsvReader, CsvWriter
from service.tables.kept_rows import KeptRows, keep_rows
from service.tables.limits import TableLimits
from service.tables.split import SplitScorer, split_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.reasons.strongest import Reasons
    from churn.scorer import Scorer
    from churn.tables.encode import Encoded
    from churn.tables.rows import Rows
    from service.media_types import TableFormat
    from service.tables.reasons import TableReasons
    from service.tables.rows import TableReader
    from service.tables.split import JobCanary, RowScorer, Split

BLOCK_ERRORS = 8192
"""Approximate maximum number of errors that are described in one part of a response: each takes some 500 bytes."""


class TableJob:
    """Score one table.

    Parameters
    ----------
    scorer : Scorer
    form : {"csv", "arrow"}
    rejects : bool
        Whether invalid rows are returned with their errors; otherwise the whole table is rejected.
    limits : TableLimits, optional
    decimal : {".", ","}, optional
        Decimal separator of numbers in strings. Detected by default.
    reasons : TableReasons, optional
        By default no reasons are returned.
    keeps_rows : bool
        Whether the accepted rows are returned to be recorded.
    canary : JobCanary, optional
        Scores a share of the rows instead.

    Attributes
    ----------
    counts : RowCounts
        Counts of the rows read so far.
    reasons : TableReasons or None
    """

    def __init__(
        self,
        scorer: Scorer,
        form: TableFormat,
        *,
        rejects: bool,
        limits: TableLimits = TableLimits(),  # noqa: B008  immutable
        decimal: str | None = None,
        reasons: TableReasons | None = None,
        keeps_rows: bool = False,
        canary: JobCanary | None = None,
    ) -> None:
        schema = scorer.schema
        self._canary = canary
        self._keeps_rows = keeps_rows
        self._scorer = scorer
        reader: type[CsvReader | ArrowReader] = CsvReader if form == "csv" else ArrowReader
        self._reader: TableReader = reader(schema, limits, decimal)
        self._writer = CsvWriter() if form == "csv" else ArrowWriter()
        self._rejects = rejects
        self.reasons = reasons
        self._form: pa.Schema | None = None
        self._errors: list[dict[str, Any]] = []
        self.counts = RowCounts()

    @property
    def buffered(self) -> int:
        """Number of buffered bytes of the table."""
        return self._reader.buffered

    def work(self, data: bytes, *, last: bool, pack: Callable[[], bool]) -> Iterator[ResponseBlock]:
        """Process received bytes and yield the results of complete rows.

        Parameters
        ----------
        data : bytes
        last : bool
            Whether this is the end of the table.
        pack : callable
            Return whether to compress the next part of the response.

        Raises
        ------
        RequestProblem
            If the format is invalid. If rows are invalid and not returned with errors: at the end of the table, or
            after `MAX_VIOLATIONS` invalid values.
        """
        received = perf_counter()
        for rows in self._reader.read(data, last=last):
            yield from self._score(rows, received, pack=pack())
            received = perf_counter()
        if last:
            if self._errors:
                raise RequestProblem.invalid(self._errors, more=False)
            text = self._begin() + self._writer.end()
            yield ResponseBlock(ResponsePart(text, len(text), is_compressed=False))

    def _begin(self) -> bytes:
        """Return the bytes before the first row; empty after the first call."""
        if self._form is not None:
            return b""
        kind = self._reader.identifier
        self._form = pa.schema(
            [
                (ROW, pa.int64()) if kind is None else (self._scorer.schema.identifier, kind),
                ("probability", pa.float64()),
                ("churn", pa.bool_()),
                ("model_version", pa.string()),
                *(self.reasons.fields if self.reasons else ()),
                *([("error", pa.string())] if self._rejects else []),
            ]
        )
        return self._writer.begin(self._form)

    def _score(self, rows: Rows, received: float, *, pack: bool) -> Iterator[ResponseBlock]:
        """Score rows; nothing is yielded if the table will be rejected."""
        self._check_reasons(rows)
        rows = replace(rows, first=self.counts.rows + 1)
        encoded = encode_rows(self._scorer.schema, rows)
        parsed = perf_counter()
        if encoded.violations and not self._rejects:
            self._list(encoded.violations, rows)
        if self._errors:
            self.counts.rows += rows.total
            return
        raw = encoded.accepted
        scorer, split, fallbacks = self._choose(rows, encoded)

        def write(batch: pa.RecordBatch, begin: bytes = b"") -> ResponsePart:
            text = begin + self._writer.write(batch)
            return ResponsePart(CODEC.compress(text, asbytes=True) if pack else text, len(text), is_compressed=pack)

        def encode(
            rows: Rows, probabilities: NDArray[np.float64]
        ) -> tuple[ResponsePart | None, ScoredRows, Iterator[pa.RecordBatch]]:
            scored = ScoredRows.of(encoded, raw, probabilities, scorer.decide(probabilities))
            if self.reasons:  # computed below, in steps
                return None, scored, iter(())
            begin = self._begin()
            batches = self._answer(rows, encoded, scored, split)
            return write(next(batches), begin), scored, batches

        (answer, scored, batches), _, stamps = run_stages(
            scorer.prepare, scorer.infer, encode, raw, rows, received, parsed
        )
        reasons: list[Reasons] = []
        if self.reasons:
            for found in self.reasons.explain(scored, split):
                reasons.append(found)
                yield PROGRESS
            begin = self._begin()
            batches = self._answer(rows, encoded, scored, split, self.reasons.make_columns(reasons, split))
            answer = write(next(batches), begin)
        self.counts.add(scored)
        kept = self._keep(rows, encoded, reasons, split) if self._keeps_rows else None
        if answer is not None:
            yield ResponseBlock(answer, scored, stamps, kept, split, fallbacks)
        for batch in batches:
            yield ResponseBlock(write(batch))

    def _choose(self, rows: Rows, encoded: Encoded) -> tuple[RowScorer, Split | None, int]:
        """Return what scores the accepted rows, which of them the canary scores, and how many it can't."""
        split, fallbacks = None, 0
        if self._canary is not None:
            split, fallbacks = split_rows(self._scorer.schema, self._canary, rows, encoded)
            if split is not None:
                return SplitScorer(self._scorer, self._canary.scorer, split), split, fallbacks
        return self._scorer, split, fallbacks

    def _keep(self, rows: Rows, encoded: Encoded, reasons: Sequence[Reasons], split: Split | None) -> KeptRows:
        written = self.reasons.write(reasons, split) if self.reasons else None
        return keep_rows(self._scorer.schema, rows, encoded, written)

    def _check_reasons(self, rows: Rows) -> None:
        """Raise a `RequestProblem` if reasons are wanted for more customers than allowed."""
        if self.reasons and self.counts.rows + rows.total > self.reasons.max_customers:
            raise RequestProblem.too_many_reasoned(self.reasons.max_customers)

    def _list(self, violations: list[Violation], rows: Rows) -> None:
        """Collect invalid values for the error response.

        Raises
        ------
        RequestProblem
            When `MAX_VIOLATIONS` values have been collected.
        """
        lines = rows.number() if rows.find_lines else None
        for violation in violations:
            if len(self._errors) == MAX_VIOLATIONS:
                raise RequestProblem.invalid(self._errors, more=True)
            number = rows.first + violation.row
            place = {"customer": number - 1, "row": number}
            if lines is not None:
                place["line"] = int(lines[violation.row])
            what = {"field": violation.field or None, "reason": violation.reason, "sent": shorten(violation.sent)}
            self._errors.append(place | what | {"allowed": violation.allowed})

    def _answer(
        self,
        rows: Rows,
        encoded: Encoded,
        scored: ScoredRows,
        split: Split | None,
        reasons: Sequence[pa.Array] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Yield the answers to all rows; in several batches if there are many errors."""
        scorer, count = self._scorer, rows.total
        if scorer.schema.identifier in rows.batch.schema.names:
            names = rows.batch.column(scorer.schema.identifier)
            names = identifiers.as_answered(names)
            if rows.places is not None:
                is_known = np.zeros(count, dtype=bool)
                is_known[rows.places] = True
                names = names.take(pa.array(np.cumsum(is_known) - 1, mask=~is_known))
        else:
            names = pa.array(np.arange(rows.first, rows.first + count))
        probabilities, decisions, mask = scored.probabilities, scored.decisions, None
        if encoded.violations:
            mask = encoded.wrong
            probabilities, decisions = (_spread(values, ~mask) for values in (probabilities, decisions))
            positions = pa.array(np.cumsum(~mask) - 1, mask=mask)
            reasons = [column.take(positions) for column in reasons]
        versions, origin = [scorer.version], np.zeros(count, dtype=np.int8)
        if split is not None and self._canary is not None:
            versions.append(self._canary.scorer.version)
            origin[~encoded.wrong] = split.chosen
        version = pa.array(versions).take(pa.array(origin))
        columns = [names, pa.array(probabilities, mask=mask), pa.array(decisions, mask=mask), version, *reasons]
        if not self._rejects:
            yield pa.record_batch(columns, schema=self._form)
            return
        violations, places = encoded.violations, [one.row for one in encoded.violations]
        step = count * BLOCK_ERRORS // max(len(violations), BLOCK_ERRORS) + 1
        for first in range(0, max(count, 1), step):
            stop = min(first + step, count)
            found = violations[bisect_left(places, first) : bisect_left(places, stop)]
            part = [column.slice(first, stop - first) for column in columns]
            yield pa.record_batch([*part, _describe(found, first, stop)], schema=self._form)


def _spread(values: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    spread = np.zeros(len(places), dtype=values.dtype)
    spread[places] = values
    return spread


def _describe(violations: list[Violation], first: int, stop: int) -> pa.Array:
    """Return the error message of each row from `first` to `stop`; null for valid rows."""
    words: dict[int, list[str]] = {}
    for one in violations:
        sent = "" if one.sent in (None, "") else f": sent {shorten(one.sent)!r}"
        words.setdefault(one.row, []).append(f"{one.field or 'the row'} {one.reason}{sent}, allowed: {one.allowed}")
    if not words:
        return pa.nulls(stop - first, pa.string())
    return pa.array(["; ".join(words[row]) if row in words else None for row in range(first, stop)], pa.string())
