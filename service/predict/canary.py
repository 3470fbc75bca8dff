"""Score a share of the customers with another model, chosen by a stable hash of the identifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.leniency import STRICT
from churn.share import choose, is_chosen
from service.errors import RequestProblem
from service.observe.scored import ScoredBatch, ScoredSplit
from service.observe.stages import run_stages
from service.predict.parse import BatchRequest, SingleRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.leniency import Leniency
    from service.observe.stages import Stamps
    from service.predict.served_model import Canary, ServedModel

    Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def divert(
    model: ServedModel, request: SingleRequest, body: bytes, leniency: Leniency = STRICT
) -> tuple[ServedModel, SingleRequest]:
    """Return the model that scores a request with one customer, and the request as that model reads it.

    A request that is valid for the served model only is scored by that one.
    """
    canary = model.canary
    if canary is None or not is_chosen(request.identifier, canary.share):
        return model, request
    other = _read_again(canary, body, leniency)
    if isinstance(other, SingleRequest):
        return canary.model, other
    model.recorder.count_canary_fallback(1)
    return model, request


def choose_rows(
    model: ServedModel, request: BatchRequest, body: bytes, leniency: Leniency = STRICT
) -> tuple[NDArray[np.bool_], BatchRequest] | None:
    """Return which customers of a batch the canary scores, and the batch as it reads it; None if it scores none.

    Returns
    -------
    chosen : ndarray of bool, shape (customers,)
    request : BatchRequest
        All customers, with the canary's schema.
    """
    canary = model.canary
    if canary is None or request.identifiers is None:
        return None
    chosen = choose(request.identifiers, canary.share)
    if not chosen.any():
        return None
    other = _read_again(canary, body, leniency)
    if isinstance(other, BatchRequest):
        return chosen, other
    model.recorder.count_canary_fallback(int(np.count_nonzero(chosen)))
    return None


def _read_again(canary: Canary, body: bytes, leniency: Leniency) -> SingleRequest | BatchRequest | None:
    """Parse a body with the schema of the canary; None if it is not valid there."""
    try:
        return canary.model.parser.parse_as(body, leniency)
    except RequestProblem:
        return None


def score_split(
    models: tuple[ServedModel, ServedModel],
    requests: tuple[BatchRequest, BatchRequest],
    chosen: NDArray[np.bool_],
    received: float,
    parsed: float,
) -> tuple[bytes, ScoredSplit]:
    """Score a batch with two models.

    Parameters
    ----------
    models, requests : tuple of two
        The served model and the canary, and the whole batch as each of them reads it.
    chosen : ndarray of bool, shape (n,)
        The customers that the canary scores.
    received, parsed : float
        See `run_stages`.
    """
    champion, challenger = (model.scorer for model in models)
    raws: Pair = requests[0].raw[~chosen], requests[1].raw[chosen]

    def encode(batches: tuple[BatchRequest, BatchRequest], probabilities: Pair) -> bytes:
        return models[0].answers.encode_split(batches, probabilities, chosen, models[1].answers)

    probabilities: Pair
    stamps: Stamps
    response, probabilities, stamps = run_stages(
        lambda raws: (champion.prepare(raws[0]), challenger.prepare(raws[1])),
        lambda matrices: (champion.infer(matrices[0]), challenger.infer(matrices[1])),
        encode,
        raws,
        requests,
        received,
        parsed,
    )
    scored = [
        ScoredBatch(raw, found, stamps, model.recorder)
        for raw, found, model in zip(raws, probabilities, models, strict=True)
    ]
    return response, ScoredSplit(scored[0], scored[1], stamps, chosen, requests[0].identifiers)
