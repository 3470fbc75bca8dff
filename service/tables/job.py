"""A table's bytes to an answer's bytes, block by block; knows nothing of HTTP. Importing it brings pyarrow in."""

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
    """A part of an answer, compressed while it is held."""

    data: bytes
    size: int
    is_compressed: bool

    def unpack(self) -> bytes:
        """Return the part as it is sent."""
        if not self.is_compressed:
            return self.data
        data: bytes = _CODEC.decompress(self.data, self.size, asbytes=True)
        return data


class Block(NamedTuple):
    """What became of some rows.

    Attributes
    ----------
    answer : Packed
    raw : ndarray of float64, shape (scored rows, features)
    probabilities : ndarray of float64, shape (scored rows,)
    rejected : int
        Rows that could not be scored.
    stamps : Stamps
    """

    answer: Packed
    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    rejected: int
    stamps: Stamps


class TableJob:
    """Scores one table.

    Parameters
    ----------
    scorer : Scorer
    form : {"csv", "arrow"}
    rejects : bool
        Whether rows that can't be scored are answered with what is wrong; else the whole table is refused.
    max_part : int
        Size of the largest part of a table that must be held whole, in bytes.
    decimal : {".", ","}, optional
        How numbers in text are written.

    Attributes
    ----------
    rows : int
        Rows read.
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
        """Bytes of the table that wait for more."""
        return self._reader.buffered

    def work(self, data: bytes, *, last: bool, pack: Callable[[], bool]) -> Iterator[Block]:
        """Take what arrived of the table and yield what became of the rows that are whole.

        Parameters
        ----------
        data : bytes
        last : bool
            Whether it is the end of the table.
        pack : callable
            Says whether to compress what comes next of the answer.

        Raises
        ------
        RequestProblem
            If the table can't be read; at its end, or after `MAX_VIOLATIONS` values, if rows can't be scored.
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
        """Return what comes before the first row; nothing once it is written."""
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
        """Score some rows; None if the table can't be answered any more."""
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
        """Keep what is wrong for the refusal.

        Raises
        ------
        RequestProblem
            If that is enough for one.
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
    """Return, for each row, what is wrong with it; null if nothing is."""
    words: dict[int, list[str]] = {}
    for one in violations:
        sent = "" if one.sent in (None, "") else f": sent {shorten(one.sent)!r}"
        words.setdefault(one.row, []).append(f"{one.field or 'the row'} {one.reason}{sent}, allowed: {one.allowed}")
    if not words:
        return pa.nulls(count, pa.string())
    return pa.array(["; ".join(words[row]) if row in words else None for row in range(count)], pa.string())
