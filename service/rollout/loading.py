"""Load model versions for the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.engines import BLOCK_ROWS
from churn.scorer import load_scorer
from service.guard.json_limits import JsonLimits
from service.observe.metrics import Metrics
from service.predict.served_model import ServedModel
from service.settings import MAX_CUSTOMERS

if TYPE_CHECKING:
    from pathlib import Path

    from churn.engines import EngineChoice
    from churn.trust.signatures import Trust

WARM_UP_ROWS = (1, BLOCK_ROWS, 1, 2 * BLOCK_ROWS)
"""Batch sizes of the warm-up, which allocates buffers and completes lazy imports before the first request. Larger ones
are run in such blocks and would only take time from requests."""


def load_model(
    folder: Path,
    engine: EngineChoice = "auto",
    threads: int = 1,
    max_customers: int = MAX_CUSTOMERS,
    metrics: Metrics | None = None,
    trust: Trust | None = None,
    limits: JsonLimits = JsonLimits(),  # noqa: B008  immutable
) -> ServedModel:
    """Load a model, verify it, create all that is derived from it, and warm it up.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    engine : {"auto", "onnx", "tensorflow"}
    threads : int
        Number of threads per operation of the engine.
    max_customers : int
        Maximum number of customers per request.
    metrics : Metrics, optional
        Where its customers are counted. By default nowhere that is read.
    trust : Trust, optional
        The keys one of which must have signed the version. By default those of the environment.
    limits : JsonLimits, optional

    Raises
    ------
    KeyFileError
        If the trusted keys can't be read.
    BundleError
        If a check fails or the model can't be served.
    EngineError
        If the engine is not installed or can't read its file.
    """
    scorer = load_scorer(folder, engine, threads, trust)
    model = ServedModel.of(scorer, max_customers, Metrics() if metrics is None else metrics, limits)
    for rows in WARM_UP_ROWS:
        scorer.score_raw(np.zeros((rows, len(scorer.schema.features))))
    scorer.score_row([0.0] * len(scorer.schema.features))
    return model
