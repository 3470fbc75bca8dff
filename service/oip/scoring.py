"""Score the customers of an inference request, each with the version that its identifier chooses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn.columns import as_customers
from churn.share import choose
from service.errors import Problem
from service.observe.stages import run_stages
from service.oip.outputs import encode_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from records.messages import Origin
    from service.observe.metrics import Metrics
    from service.observe.stages import Stamps
    from service.oip.tensors import Request
    from service.predict.served_model import ServedModel

    Answer = tuple[bytes, int | None]
    """See `encode_answer`."""


class Part(NamedTuple):
    """The customers of a request that one model scores.

    Attributes
    ----------
    model : ServedModel
    rows : ndarray of int64, shape (n,)
        Their positions in the request.
    raw : ndarray of float64, shape (n, features)
    """

    model: ServedModel
    rows: NDArray[np.int64]
    raw: NDArray[np.float64]


class ScoredTensors:
    """A scored request.

    Parameters
    ----------
    request : Request
    parts : list of Part
        One or two; the first names the version of the answer.
    found : list of ndarray of float64
        Probabilities of the customers of each part.

    Attributes
    ----------
    request, parts, found
        As given.
    stamps : Stamps
        Set when the scoring has ended.
    probabilities : ndarray of float64, shape (customers,)
    """

    stamps: Stamps

    def __init__(self, request: Request, parts: list[Part], found: list[NDArray[np.float64]]) -> None:
        self.request, self.parts, self.found = request, parts, found
        self.probabilities: NDArray[np.float64] = np.empty(len(request.raw))
        for part, probabilities in zip(parts, found, strict=True):
            self.probabilities[part.rows] = probabilities

    @property
    def customers(self) -> int:
        """Number of customers."""
        return len(self.probabilities)

    def encode(self, reasons: Mapping[str, NDArray[Any]] | None = None) -> Answer:
        """Return the response; customers that two versions scored have the one that did beside them."""
        request, first = self.request, self.parts[0].model.scorer
        decisions = np.empty(self.customers, dtype=bool)
        versions = np.empty(self.customers, dtype=object)
        for part, found in zip(self.parts, self.found, strict=True):
            decisions[part.rows] = part.model.scorer.decide(found)
            versions[part.rows] = part.model.scorer.version
        return encode_answer(
            request.outputs,
            request.id,
            first.version,
            self.probabilities,
            decisions,
            reasons or {},
            versions if len(self.parts) > 1 else None,
        )

    def count(self, metrics: Metrics) -> None:
        """Count the customers with the models that scored them."""
        for number, (part, found) in enumerate(zip(self.parts, self.found, strict=True)):
            counts = part.model.recorder.counts
            if number:
                metrics.count_customers(counts, part.raw, found)
            else:
                metrics.count_block(counts, part.raw, found, 0, self.stamps)
        metrics.count_batch(self.customers)

    def list_origins(self) -> list[Origin]:
        """Return what scored each customer; one for all if it is the same."""
        origins = [self.parts[0].model.recorder.origin]
        if len(self.parts) > 1:
            origins *= self.customers
            for row in self.parts[1].rows.tolist():
                origins[row] = self.parts[1].model.recorder.origin
        return origins

    def write_inputs(self) -> list[str]:
        """Return the customers as JSON, for records."""
        written = [""] * self.customers
        names = self.request.identifiers
        for part in self.parts:
            schema = part.model.scorer.schema
            for row, customer in zip(part.rows.tolist(), as_customers(schema, part.raw), strict=True):
                name = None if names is None else names[row]
                named = customer if name is None else {schema.identifier: name, **customer}
                written[row] = json.dumps(named, ensure_ascii=False)
        return written


def score_tensors(model: ServedModel, request: Request, received: float, parsed: float) -> tuple[Answer, ScoredTensors]:
    """Return the response to a request, which is empty if reasons are to be added, and what was scored.

    Parameters
    ----------
    model : ServedModel
    request : Request
    received, parsed : float
        See `run_stages`.
    """
    parts = _divide(model, request)

    def encode(request: Request, found: list[NDArray[np.float64]]) -> tuple[Answer, ScoredTensors]:
        scored = ScoredTensors(request, parts, found)
        return ((b"", None) if request.wanted is not None else scored.encode()), scored

    stamps: Stamps
    (answer, scored), _, stamps = run_stages(
        lambda parts: [part.model.scorer.prepare(part.raw) for part in parts],
        lambda matrices: [part.model.scorer.infer(matrix) for part, matrix in zip(parts, matrices, strict=True)],
        encode,
        parts,
        request,
        received,
        parsed,
    )
    scored.stamps = stamps
    return answer, scored


def _divide(model: ServedModel, request: Request) -> list[Part]:
    """Return which model scores which customers. A request that the canary can't score is scored by the served one."""
    raw, canary = request.raw, model.canary
    everybody = np.arange(len(raw))
    chosen = np.zeros(len(raw), dtype=bool)
    if canary is not None and request.identifiers is not None:
        chosen = choose(request.identifiers, canary.share)
    if canary is None or not chosen.any():
        return [Part(model, everybody, raw)]
    other = request.tensors.encode_again(canary.model.scorer.schema)
    if other is None or (request.wanted is not None and not _has_reasons(canary.model)):
        model.recorder.count_canary_fallback(int(np.count_nonzero(chosen)))
        return [Part(model, everybody, raw)]
    parts = [Part(model, everybody[~chosen], raw[~chosen]), Part(canary.model, everybody[chosen], other[chosen])]
    return parts[1:] if chosen.all() else parts


def _has_reasons(model: ServedModel) -> bool:
    try:
        model.explainer.check()
    except Problem:
        return False
    return True
