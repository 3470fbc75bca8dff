"""Summaries of jobs, with the same names for files, databases and Spark."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput
    from batch.tally import Tally
    from churn.scorer import Scorer

_BYTES = 4 << 20


def summarize(tally: Tally, scorer: Scorer, resumed_at: int, started: float) -> dict[str, Any]:
    """Return the part of the summary that all jobs have.

    Parameters
    ----------
    tally : Tally
    scorer : Scorer
    resumed_at : int
        Number of rows that earlier runs of the job finished.
    started : float
        Start of this run, from `time.perf_counter`.

    Returns
    -------
    dict
        Counts, reasons, score distribution, drift, model and duration; serialisable as JSON.
    """
    return {
        **tally.summarize(),
        "model_version": scorer.version,
        "manifest_sha256": scorer.manifest.content["manifest_sha256"],
        "resumed_at_row": resumed_at,
        "seconds": round(time.perf_counter() - started, 3),
    }


@contextmanager
def hashing(files: Sequence[InputFile | StandardInput]) -> Iterator[Future[list[dict[str, Any]]]]:
    """Compute name, size and SHA-256 of each file on a separate thread while the block runs; yield the future result.

    Standard input is excluded, because it computes its own hash.
    """
    stop = Event()
    with ThreadPoolExecutor(1, "hash") as thread:
        future = thread.submit(lambda: [_describe(file, stop) for file in files if file.can_reopen])
        try:
            yield future
        finally:
            stop.set()


def _describe(file: InputFile | StandardInput, stop: Event) -> dict[str, Any]:
    digest, count = hashlib.sha256(), 0
    with file.open() as opened:
        while not stop.is_set() and (data := opened.read(_BYTES)):
            digest.update(data)
            count += len(data)
    return {"name": file.name, "bytes": count, "sha256": digest.hexdigest()}
