"""A body's bytes to an answer's bytes, with the times its stages took; knows nothing of HTTP."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from service.observe.stages import ScoredBatch, ScoredLone
from service.predict.leniency import STRICT
from service.predict.parse import Lone

if TYPE_CHECKING:
    from service.predict.leniency import Leniency
    from service.predict.parse import Batch
    from service.predict.served_model import ServedModel


def score_body(model: ServedModel, body: bytes, leniency: Leniency = STRICT) -> tuple[bytes, ScoredLone | ScoredBatch]:
    """Return the answer to a body of `POST /predict`, and what was done.

    Raises
    ------
    RequestProblem
        If the body can't be scored.
    """
    received = perf_counter()
    parser = model.parser
    request = parser.parse(body) if leniency == STRICT else parser.parse_leniently(body, leniency)
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
