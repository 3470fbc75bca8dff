"""Summaries of jobs, with the same names for files, databases and Spark."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churn.scorer import Scorer
    from churn.tables.tally import Tally


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
