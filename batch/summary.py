"""What a job says it did: the same names whatever it read and wrote."""

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
    """Return what every summary says.

    Parameters
    ----------
    tally : Tally
    scorer : Scorer
    resumed_at : int
        Rows that were done before this run.
    started : float
        When this run began, by `time.perf_counter`.

    Returns
    -------
    dict
        Counts, reasons, score distribution, drift, model and duration, as plain data.
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
    """Yield what will be name, bytes and SHA-256 of each file, read on a thread of its own while a block runs.

    Standard input is not among them: it knows its own.
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
