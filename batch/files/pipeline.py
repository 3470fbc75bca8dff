"""Blocks of rows to scores, in their order, on all cores: one thread reads ahead, others parse, score and encode.

pyarrow, NumPy and ONNX Runtime let go of Python's lock while they work, so threads are enough. How many blocks are on
their way at once is bounded, and with them the memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch.chunk import REJECTS, Chunk, score_batch
from batch.files.source import explaining
from batch.read_ahead import read_ahead
from churn.runtime.cpus import count_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from batch.files.blocks import Rows
    from batch.files.source import Position, Source, Step
    from churn.scorer import Scorer

    Encode = Callable[[pa.RecordBatch], Any]

MAX_WORKERS = 8
"""More threads than this one reader can't feed, and each has its blocks in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What became of a block.

    Attributes
    ----------
    chunk : Chunk
    data : bytes-like
        The scores, as they are written.
    after : Position
        Where the next block begins.
    share : float
        How much of the input this is the end of, 0 to 1; NaN if nobody knows.
    """

    chunk: Chunk
    data: Any
    after: Position
    share: float


def count_workers() -> int:
    """Return how many threads work beside the one that reads: one for each CPU, at most `MAX_WORKERS`."""
    return min(count_cpus(), MAX_WORKERS)


def score_in_order(
    scorer: Scorer, source: Source, encode: Encode, position: Position, rows_before: int
) -> Generator[Scored, None, None]:
    """Score the rows of a source.

    Parameters
    ----------
    scorer : Scorer
    source : Source
    encode : callable
        Turns scores into what is written, in any thread.
    position : Position
        Where to begin.
    rows_before : int
        How many rows come before it.

    Raises
    ------
    TableError
        If the input can't be read further.
    """
    workers = count_workers()
    count: Future[int] = Future()
    count.set_result(rows_before)
    with read_ahead(source.blocks(position)) as steps, ThreadPoolExecutor(workers, "score") as pool:
        waiting: deque[Future[Scored]] = deque()
        try:
            for step in steps:
                before, count = count, Future()
                waiting.append(pool.submit(_work, scorer, source, step, encode, before, count))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _work(
    scorer: Scorer, source: Source, step: Step, encode: Encode, before: Future[int], after: Future[int]
) -> Scored:
    """Do all that is done with one block; say how many rows there are up to its end as soon as that is known."""
    try:
        with explaining(step.source):
            rows = step.block.parse()
        first = before.result()
        after.set_result(first + rows.total)
    except BaseException as error:
        after.set_exception(error)
        raise
    chunk = _score_rows(scorer, source, rows, first)
    columns, values = (chunk.rejects.column(name).to_pylist() for name in ("column", "value"))
    wrong = {column for column, value in zip(columns, values, strict=True) if value is not None}
    if wrong and (again := step.block.parse_again(wrong)):
        chunk = _score_rows(scorer, source, again, first)
    return Scored(chunk, encode(chunk.scores), step.after, step.share)


def _score_rows(scorer: Scorer, source: Source, rows: Rows, first: int) -> Chunk:
    numbers = first + 1 if rows.places is None else first + 1 + rows.places
    chunk = score_batch(scorer, source.columns.widen_kept(rows.batch), numbers, source.columns.keep)
    if not len(rows.rejects):
        return chunk
    places = np.asarray(rows.rejects.column("row"))
    shifted = rows.rejects.set_column(0, REJECTS.field("row"), pa.array(places + (first + 1)))
    merged = pa.Table.from_batches([chunk.rejects, shifted]).combine_chunks().to_batches()[0]
    order = np.argsort(np.asarray(merged.column("row")), kind="stable")
    return replace(chunk, rejects=merged.take(pa.array(order)), rows=rows.total)
