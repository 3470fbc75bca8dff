"""Score blocks of rows in order on all cores: one thread reads ahead, others parse, score and encode.

pyarrow, NumPy and ONNX Runtime release the GIL while they compute, so threads suffice. The number of blocks in progress
is limited, which limits the memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from batch.chunk import Chunk, score_rows
from batch.files.source import explaining
from batch.read_ahead import read_ahead
from churn.runtime.cpus import count_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pyarrow as pa

    from batch.files.source import Position, Source, SourceBlock
    from churn.scorer import Scorer

    Encode = Callable[[pa.RecordBatch], Any]

MAX_WORKERS = 8
"""One reader can't supply more threads than this, and each thread holds blocks in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredBlock:
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
) -> Generator[ScoredBlock, None, None]:
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
        waiting: deque[Future[ScoredBlock]] = deque()
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
    scorer: Scorer, source: Source, step: SourceBlock, encode: Encode, before: Future[int], after: Future[int]
) -> ScoredBlock:
    """Parse, score and encode one block; report the number of rows up to its end as soon as it is known."""
    try:
        with explaining(step.source):
            rows = step.block.parse()
        first = before.result()
        after.set_result(first + rows.total)
    except BaseException as error:
        after.set_exception(error)
        raise
    rows = replace(rows, batch=source.columns.widen_kept(rows.batch), first=first + 1)
    chunk = score_rows(scorer, rows, source.columns.keep, source.columns.writer)
    return ScoredBlock(chunk, encode(chunk.scores), step.after, step.share)
