"""Score a table block by block. Independent of HTTP; importing it loads pyarrow."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from churn import identifiers
from churn.columns import MAX_VIOLATIONS
from churn.names import ROW
from churn.tables.rows import encode_rows
from service.errors import RequestProblem, shorten
from service.observe.stages import run_stages
from service.tables.arrow_table import ArrowReader, ArrowWriter
from service.tables.csv_table import CsvReader, CsvWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from churn.errors import Violation
    from churn.scorer import Scorer
    from churn.tables.encode import Encoded
    from churn.tables.rows import Rows
    from service.media_types import Form
    from service.observe.stages import Stamps
    from service.tables.rows import TableReader

_CODEC = pa.Codec("zstd", compression_level=1)


class Packed(NamedTuple):
    """A part of a response, which may be compressed while it is held."""

    data: bytes
    size: int
    is_compressed: bool

    def unpack(self) -> bytes:
        """Return the part uncompressed."""
        if not self.is_compressed:
            return self.data
        data: bytes = _CODEC.decompress(self.data, self.size, asbytes=True)
        return data


class Block(NamedTuple):
    """Results of a block of rows.

    Attributes
    ----------
    answer : Packed
        Encoded part of the response.
    raw : ndarray of float64, shape (scored rows, features)
    probabilities : ndarray of float64, shape (scored rows,)
    rejected : int
        Number of invalid rows.
    stamps : Stamps
    """

    answer: Packed
    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    rejected: int
    stamps: Stamps


class TableJob:
    """Score one table.

    Parameters
    ----------
    scorer : Scorer
    form : {"csv", "arrow"}
    rejects : bool
        Whether invalid rows are returned with their errors; otherwise the whole table is rejected.
    max_part : int
        Maximum size in bytes of a part that must be held in memory: a CSV record or an Arrow message.
    decimal : {".", ","}, optional
        Decimal separator of numbers in strings. Detected by default.

    Attributes
    ----------
    rows : int
        Number of rows read so far.
    """

    def __init__(self, scorer: Scorer, form: Form, *, rejects: bool, max_part: int, decimal: str | None = None) -> None:
        schema = scorer.schema
        self._scorer = scorer
        reader: type[CsvReader | ArrowReader] = CsvReader if form == "csv" else ArrowReader
        self._reader: TableReader = reader(schema, max_part, decimal)
        self._writer = CsvWriter() if form == "csv" else ArrowWriter()
        self._rejects = rejects
        self._form: pa.Schema | None = None
        self._errors: list[dict[str, Any]] = []
        self.rows = 0

    @property
    def buffered(self) -> int:
        """Number of buffered bytes of the table."""
        return self._reader.buffered

    def work(self, data: bytes, *, last: bool, pack: Callable[[], bool]) -> Iterator[Block]:
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
            block = self._score(rows, received, pack=pack())
            if block is not None:
                yield block
            received = perf_counter()
        if last:
            if self._errors:
                raise RequestProblem.invalid(self._errors, more=False)
            text = self._begin() + self._writer.end()
            none = np.empty((0, len(self._scorer.schema.features)))
            yield Block(Packed(text, len(text), is_compressed=False), none, none[:, 0], 0, (received,) * 6)

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
                *([("error", pa.string())] if self._rejects else []),
            ]
        )
        return self._writer.begin(self._form)

    def _score(self, rows: Rows, received: float, *, pack: bool) -> Block | None:
        """Score rows; None if the table will be rejected."""
        encoded = encode_rows(self._scorer.schema, rows)
        parsed = perf_counter()
        first, self.rows = self.rows, self.rows + len(encoded.raw)
        if encoded.violations and not self._rejects:
            self._list(encoded.violations, rows, first)
        if self._errors:
            return None
        fine = ~encoded.wrong
        raw = encoded.raw[fine] if encoded.violations else encoded.raw

        def encode(rows: Rows, probabilities: NDArray[np.float64]) -> Packed:
            text = self._begin() + self._writer.write(self._answer(rows, first, encoded, probabilities))
            return Packed(_CODEC.compress(text, asbytes=True) if pack else text, len(text), is_compressed=pack)

        answer, probabilities, stamps = run_stages(
            self._scorer.prepare, self._scorer.infer, encode, raw, rows, received, parsed
        )
        return Block(answer, raw, probabilities, len(encoded.raw) - len(raw), stamps)

    def _list(self, violations: list[Violation], rows: Rows, first: int) -> None:
        """Collect invalid values for the error response.

        Raises
        ------
        RequestProblem
            When `MAX_VIOLATIONS` values have been collected.
        """
        lines = rows.find_lines() if rows.find_lines else None
        for violation in violations:
            if len(self._errors) == MAX_VIOLATIONS:
                raise RequestProblem.invalid(self._errors, more=True)
            customer = first + violation.row
            place = {"customer": customer, "row": customer + 1}
            if lines is not None:
                place["line"] = lines[violation.row]
            what = {"field": violation.field or None, "reason": violation.reason, "sent": shorten(violation.sent)}
            self._errors.append(place | what | {"allowed": violation.allowed})

    def _answer(self, rows: Rows, first: int, encoded: Encoded, probabilities: NDArray[np.float64]) -> pa.RecordBatch:
        scorer, count = self._scorer, rows.total
        if scorer.schema.identifier in rows.batch.schema.names:
            names = rows.batch.column(scorer.schema.identifier)
            names = identifiers.as_answered(names)
            if rows.places is not None:
                is_known = np.zeros(count, dtype=bool)
                is_known[rows.places] = True
                names = names.take(pa.array(np.cumsum(is_known) - 1, mask=~is_known))
        else:
            names = pa.array(np.arange(first + 1, first + 1 + count))
        decisions = scorer.decide(probabilities)
        mask = None
        if encoded.violations:
            mask = encoded.wrong
            probabilities, decisions = (_spread(values, ~mask) for values in (probabilities, decisions))
        version = pa.array([scorer.version]).take(pa.array(np.zeros(count, dtype=np.int8)))
        columns = [names, pa.array(probabilities, mask=mask), pa.array(decisions, mask=mask), version]
        if self._rejects:
            columns.append(_describe(encoded.violations, count))
        return pa.record_batch(columns, schema=self._form)


def _spread(values: NDArray[Any], places: NDArray[np.bool_]) -> NDArray[Any]:
    spread = np.zeros(len(places), dtype=values.dtype)
    spread[places] = values
    return spread


def _describe(violations: list[Violation], count: int) -> pa.Array:
    """Return the error message of each row; null for valid rows."""
    words: dict[int, list[str]] = {}
    for one in violations:
        sent = "" if one.sent in (None, "") else f": sent {shorten(one.sent)!r}"
        words.setdefault(one.row, []).append(f"{one.field or 'the row'} {one.reason}{sent}, allowed: {one.allowed}")
    if not words:
        return pa.nulls(count, pa.string())
    return pa.array(["; ".join(words[row]) if row in words else None for row in range(count)], pa.string())
