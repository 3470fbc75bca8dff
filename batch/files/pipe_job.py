"""Score into standard output. Such a job can't be resumed, because its output can't be withdrawn."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch.chunk import REJECTS, open_reasons
from batch.files.encode import CsvEncoder
from batch.files.formats import find_format
from batch.files.hashing import hashing
from batch.files.locations import STANDARD, locate
from batch.files.pipeline import score_in_order
from batch.files.progress import advance, show_progress
from batch.files.sink import PipedFile
from batch.files.source import Position, Source
from batch.files.standard_streams import HashedOutput
from batch.files.target import check_folder
from batch.summary import summarize
from churn.drift import Drift
from churn.errors import TableError
from churn.runtime.files import replace_text, write_aside
from churn.tables.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from batch.files.job import FileJob
    from churn.scorer import Scorer


def score_pipe(scorer: Scorer, job: FileJob) -> dict[str, Any]:
    """Score every row of the input into standard output.

    Parameters
    ----------
    scorer : Scorer
    job : FileJob
        Rejects are written as CSV to its file of rejects, or to standard error if it has none.

    Returns
    -------
    dict
        The summary as plain data.

    Raises
    ------
    TableError
        If the input can't be read, or `FileJob.resume` is set.
    TooManyRejectsError
        If the limit is exceeded; scores may have been written before.
    """
    started = time.perf_counter()
    if job.resume:
        raise TableError("--resume is not possible with standard output, which can't be withdrawn")
    form = find_format(STANDARD, job.output_format or "csv")
    writer = open_reasons(scorer, job.reasons)
    source = Source(job.source, scorer.schema, job.keep, job.input_format, job.decimal, writer)
    tally = Tally(Drift(scorer.manifest))
    output = HashedOutput(sys.stdout.buffer)
    with hashing(source.files if job.needs_hashes else ()) as inputs, _open_rejects(job) as reject:
        scores = PipedFile(output, form, source.columns.scores, source.columns.distinct)
        blocks = score_in_order(scorer, source, scores.encode, Position(), 0)
        with closing(blocks), show_progress(0, is_silent=job.rejects is None) as bar:
            for scored in blocks:
                scores.append(scored.data, scored.chunk.scores)
                reject(scored.chunk.rejects)
                tally.add(scored.chunk.scored)
                advance(bar, tally, scored.share)
                if job.max_rejects:
                    job.max_rejects.check(tally, is_end=False)
        scores.finish()
        if job.max_rejects:
            job.max_rejects.check(tally)
        hashes: dict[str, Any] = {}
        if job.needs_hashes:
            hashes = {"inputs": source.describe(inputs.result()), "output_sha256": output.sha256}
    summary = {
        **summarize(tally, scorer, 0, started),
        "source": source.name,
        "output": STANDARD,
        "rejects": job.rejects or "standard error",
        "notes": list(source.columns.notes),
        **hashes,
    }
    if job.summary is not None:
        replace_text(job.summary, json.dumps(summary, indent=1) + "\n")
    return summary


@contextmanager
def _open_rejects(job: FileJob) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Yield the file for rejects: a file that appears when it is complete, or standard error."""
    encoder = CsvEncoder(REJECTS)
    if job.rejects is None:
        heads = [encoder.head]

        def tell(rejects: pa.RecordBatch) -> None:
            if len(rejects):
                for data in (*heads, encoder.encode(rejects)):
                    sys.stderr.write(bytes(memoryview(data)).decode())
                heads.clear()

        yield tell
        return
    place = locate(job.rejects)
    if not place.is_local:
        raise TableError(f"{place.name}: with --output -, the file of rejects must be on this machine")
    check_folder(place)
    if Path(place.path).exists() and job.if_exists == "fail":
        raise TableError(f"{place.name}: the file exists; use --if-exists replace or another name")
    with write_aside(Path(place.path)) as aside, aside.open("wb") as file:
        file.write(memoryview(encoder.head))

        def write(rejects: pa.RecordBatch) -> None:
            if len(rejects):
                file.write(memoryview(encoder.encode(rejects)))

        yield write
        file.flush()
