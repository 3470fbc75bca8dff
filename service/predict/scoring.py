"""Score the bodies of `POST /predict`, and measure each stage. Independent of HTTP."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from churn.leniency import STRICT
from service.observe.scored import ScoredBatch, ScoredSingle
from service.observe.stages import run_stages
from service.predict.canary import choose_rows, divert, score_split
from service.predict.parse import SingleRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from churn.leniency import Leniency
    from service.observe.scored import Scored
    from service.observe.stages import Stamps
    from service.predict.parse import BatchRequest
    from service.predict.served_model import ServedModel


class ScoredTogether(NamedTuple):
    """Requests with one customer each, scored in one call.

    Attributes
    ----------
    raw : ndarray of float64, shape (n, features)
    probabilities : ndarray of float64, shape (n,)
    stamps : Stamps
        Times of the call; `received` and `parsed` differ between the requests and are not set.
    """

    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    stamps: Stamps


def score_body(model: ServedModel, body: bytes, leniency: Leniency = STRICT) -> tuple[bytes, Scored]:
    """Return the response to a body, and the record of the scoring.

    Raises
    ------
    RequestProblem
        If the body is invalid; see `service.predict.parse.parse`.
    """
    received = perf_counter()
    request = model.parser.parse_as(body, leniency)
    parsed = perf_counter()
    if isinstance(request, SingleRequest):
        if model.canary is not None:
            model, request = divert(model, request, body, leniency)
        return score_single(model, request, received, parsed)
    return score_batch(model, request, body, received, parsed, leniency)


def score_and_keep(model: ServedModel, body: bytes, leniency: Leniency = STRICT) -> tuple[bytes, Scored, bytes]:
    """Return what `score_body` returns, and the body itself, which the caller may have seen compressed only."""
    return *score_body(model, body, leniency), body


def score_single(
    model: ServedModel, request: SingleRequest, received: float, parsed: float
) -> tuple[bytes, ScoredSingle]:
    """Score a request with one customer."""
    scorer = model.scorer
    response, probability, stamps = run_stages(
        scorer.prepare_row, scorer.infer_row, model.answers.encode_single, request.row, request, received, parsed
    )
    return response, ScoredSingle(request.row, probability, stamps, model.recorder, request.identifier)


def score_batch(
    model: ServedModel,
    request: BatchRequest,
    body: bytes,
    received: float,
    parsed: float,
    leniency: Leniency = STRICT,
) -> tuple[bytes, Scored]:
    """Score a request with several customers; `body` is only read again for the canary."""
    if model.canary is not None and (found := choose_rows(model, request, body, leniency)) is not None:
        chosen, other = found
        if not chosen.all():
            return score_split((model, model.canary.model), (request, other), chosen, received, parsed)
        model, request = model.canary.model, other
    scorer = model.scorer
    response, probabilities, stamps = run_stages(
        scorer.prepare, scorer.infer, model.answers.encode_batch, request.raw, request, received, parsed
    )
    return response, ScoredBatch(request.raw, probabilities, stamps, model.recorder, request.identifiers)


def score_together(model: ServedModel, requests: Sequence[SingleRequest]) -> tuple[list[bytes], ScoredTogether]:
    """Score several requests with one customer each in one call of the network."""
    scorer = model.scorer
    rows = [request.row for request in requests]
    raw = scorer.stack_rows(rows)
    responses, probabilities, stamps = run_stages(
        lambda rows: scorer.prepare_rows(rows, raw),
        scorer.infer,
        model.answers.encode_singles,
        rows,
        requests,
        0.0,
        0.0,
    )
    return responses, ScoredTogether(raw, probabilities, stamps)
