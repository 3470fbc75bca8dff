"""A body's bytes to an answer's bytes, with the times its stages took; knows nothing of HTTP."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from service.predict.parse import Lone

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from service.predict.parse import Batch
    from service.state import ServedModel


Stamps = tuple[float, float, float, float, float, float]
"""When a request was received, parsed, started (when the engine was free for it: what lies before is the queue),
prepared, inferred and serialised, in seconds of `time.perf_counter`."""

STAMPS = 6

STAGES = ("parse", "queue", "preprocess", "inference", "serialise")
"""What lies between one stamp and the next."""


class ScoredLone(NamedTuple):
    """A customer scored alone."""

    row: Sequence[float]
    probability: float
    stamps: Stamps


class ScoredBatch(NamedTuple):
    """Customers scored together."""

    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    stamps: Stamps


def score_body(model: ServedModel, body: bytes) -> tuple[bytes, ScoredLone | ScoredBatch]:
    """Return the answer to a body of `POST /predict`, and what was done.

    Raises
    ------
    RequestProblem
        If the body can't be scored.
    """
    received = perf_counter()
    request = model.parser.parse(body)
    parsed = perf_counter()
    if isinstance(request, Lone):
        return score_lone(model, request, received, parsed)
    return score_batch(model, request, received, parsed)


def score_lone(model: ServedModel, request: Lone, received: float, parsed: float) -> tuple[bytes, ScoredLone]:
    """Score one customer alone."""
    scorer = model.scorer
    started = perf_counter()
    matrix = scorer.prepare_row(request.row)
    prepared = perf_counter()
    probability = scorer.infer_row(matrix)
    inferred = perf_counter()
    answer = model.answers.encode_lone(request, probability, leaves=probability > scorer.threshold)
    stamps = (received, parsed, started, prepared, inferred, perf_counter())
    return answer, ScoredLone(request.row, probability, stamps)


def score_batch(model: ServedModel, request: Batch, received: float, parsed: float) -> tuple[bytes, ScoredBatch]:
    """Score the customers of one request."""
    scorer = model.scorer
    started = perf_counter()
    matrix = scorer.prepare(request.raw)
    prepared = perf_counter()
    probabilities = scorer.infer(matrix)
    decisions = scorer.decide(probabilities)
    inferred = perf_counter()
    answer = model.answers.encode_batch(request, probabilities, decisions)
    stamps = (received, parsed, started, prepared, inferred, perf_counter())
    return answer, ScoredBatch(request.raw, probabilities, decisions, stamps)
