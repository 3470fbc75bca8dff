"""Score blocks of rows in order on all cores: one thread reads ahead, others parse, score and encode.

pyarrow, NumPy and ONNX Runtime release the GIL while they compute, so threads suffice. The number of blocks in progress
is limited, which limits the memory.
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
"""One reader can't supply more threads than this, and each thread holds blocks in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Result of scoring a block.

    Attributes
    ----------
    chunk : Chunk
    data : bytes-like
        The scores, encoded for the output file.
    after : Position
        Position of the next block.
    share : float
        Fraction of the input up to the end of the block, from 0 to 1; NaN if it is not known.
    """

    chunk: Chunk
    data: Any
    after: Position
    share: float


def count_workers() -> int:
    """Return the number of threads in addition to the reader: one per CPU, at most `MAX_WORKERS`."""
    return min(count_cpus(), MAX_WORKERS)


def score_in_order(
    scorer: Scorer, source: Source, encode: Encode, position: Position, rows_before: int
) -> Generator[Scored, None, None]:
    """Yield the results of the blocks of a source, in order.

    Parameters
    ----------
    scorer : Scorer
    source : Source
    encode : callable
        Encodes scores for the output file; called from several threads.
    position : Position
        Position at which to start.
    rows_before : int
        Number of rows before that position.

    Raises
    ------
    TableError
        If the input can't be read.
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
    """Parse, score and encode one block; report the number of rows up to its end as soon as it is known."""
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
