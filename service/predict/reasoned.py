"""Score the bodies of `POST /predict?reasons=…`, and explain each customer with the model that scored it."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from churn.leniency import STRICT
from churn.names import BATCH, name_results, normalize_keys
from churn.reasons.record import describe_reason
from churn.reasons.strongest import ReasonWriter
from service.errors import RequestProblem, shorten
from service.observe.reason_metrics import ReasonWork
from service.observe.stages import run_stages
from service.predict.answers import describe_unusual
from service.predict.canary import choose_rows, divert
from service.predict.parse import SingleRequest, parse_json
from service.predict.parts import PART_BYTES, divide

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.leniency import Leniency
    from churn.reasons.strongest import Reason, Reasons, Wanted
    from churn.schema import Schema
    from records.messages import Origin
    from service.observe.metrics import Metrics
    from service.observe.stages import Stamps
    from service.predict.served_model import ServedModel

_encode = msgspec.json.Encoder().encode


class _Share(NamedTuple):
    """The customers of a request that one model scored.

    Attributes
    ----------
    model : ServedModel
    rows : sequence of int
        Positions of the customers in the request.
    raw : ndarray of float64, shape (len(rows), features)
    probabilities : ndarray of float64, shape (len(rows),)
    version : str or None
        Named beside each prediction; None if that of the response applies.
    """

    model: ServedModel
    rows: Sequence[int]
    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    version: str | None = None


class ReasonedRequest:
    """A scored request whose customers are yet to be explained.

    Parameters
    ----------
    shares : sequence of _Share
    sent : sequence of mapping
        The customers as they were sent, with the names of the schema.
    identifiers : sequence of str, int or None
    stamps : Stamps
        Times of the scoring.
    body : bytes
        As it was sent, decompressed.
    is_single : bool
        Whether the request is one customer, not a list.

    Attributes
    ----------
    identifiers, body, is_single
        As given.
    reasons : list of str
        The reasons of each customer as JSON, after `explain` has ended.
    """

    def __init__(
        self,
        shares: Sequence[_Share],
        sent: Sequence[Mapping[str, Any]],
        identifiers: Sequence[str | int | None],
        stamps: Stamps,
        body: bytes,
        *,
        is_single: bool,
    ) -> None:
        self._shares, self._sent = shares, sent
        self.identifiers, self.body = identifiers, body
        self.is_single = is_single
        self.reasons: list[str] = [""] * len(sent)
        self._predictions: list[Any] = [None] * len(sent)
        self._work = ReasonWork()
        self._stamps = stamps

    @property
    def work(self) -> ReasonWork:
        """What the reasons have taken so far."""
        return self._work

    @property
    def stamps(self) -> Stamps:
        """Times of the scoring."""
        return self._stamps

    @property
    def customers(self) -> int:
        """Number of customers."""
        return len(self._sent)

    def explain(self, wanted: Wanted) -> Iterator[None]:
        """Explain one customer with each step.

        Raises
        ------
        RequestProblem
            409 if a model has no background.
        """
        for share in self._shares:
            share.model.explainer.check()
        yield from self._work.watch(self._explain_each(wanted))

    def _explain_each(self, wanted: Wanted) -> Iterator[tuple[None, int]]:
        for share in self._shares:
            schema = share.model.scorer.schema
            writer = ReasonWriter(share.model.explainer.open(), schema, wanted)
            unusual = describe_unusual(schema, share.raw)
            found = writer.write_each(share.raw, share.probabilities)
            for place, (row, (reasons, evaluations)) in enumerate(zip(share.rows, found, strict=True)):
                prediction = self._describe(share, place, unusual.get(place))
                prediction[name_results(["base"], [schema.identifier])[0]] = writer.base
                prediction["reasons"] = list_reasons(schema, reasons.listed, self._sent[row])
                if reasons.support is not None:
                    name = name_results(["support"], [schema.identifier])[0]
                    prediction[name] = describe_support(schema, reasons)
                self.reasons[row] = _encode(prediction["reasons"]).decode()
                self._predictions[row] = msgspec.Raw(_encode(prediction))
                yield None, evaluations

    def _describe(self, share: _Share, place: int, warnings: list[dict[str, Any]] | None) -> dict[str, Any]:
        """Return the fields of a prediction as without reasons, in the same order."""
        scorer = share.model.scorer
        probability = float(share.probabilities[place])
        name = self.identifiers[share.rows[place]]
        fields: dict[str, Any] = {"probability": probability, "churn": probability > scorer.threshold}
        if self.is_single:
            fields["model_version"] = scorer.version
        if name is not None:
            fields[scorer.schema.identifier] = name
        if warnings:
            fields["warnings"] = warnings
        if share.version is not None:
            fields["model_version"] = share.version
        return fields

    def list_scored(self) -> tuple[list[float], list[Origin]]:
        """Return the probability of each customer, and what scored it."""
        probabilities, origins = [0.0] * len(self._sent), [self._shares[0].model.recorder.origin] * len(self._sent)
        for share in self._shares:
            for row, probability in zip(share.rows, share.probabilities.tolist(), strict=True):
                probabilities[row], origins[row] = probability, share.model.recorder.origin
        return probabilities, origins

    def encode(self) -> bytes:
        """Return the response, after `explain` has ended."""
        if self.is_single:
            return bytes(self._predictions[0])
        version = self._shares[0].model.scorer.version
        return _encode({"predictions": self._predictions, "model_version": version})

    def record(self, metrics: Metrics) -> None:
        """Count the customers with the models that scored them, and the reasons; the request is counted elsewhere."""
        for share in self._shares:
            share.model.recorder.record_customers(share.raw, share.probabilities)
            metrics.count_stages(self._stamps)
        metrics.count_batch(self.customers)
        metrics.reasons.count(self._work)


def list_reasons(schema: Schema, reasons: Sequence[Reason], sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the reasons of one customer as JSON values; `sent` has the values as they were sent."""
    listed = []
    for reason in reasons:
        described = describe_reason(schema, reason)
        field = described["field"]
        listed.append({"field": field, "value": shorten(sent.get(field))} | described)
    return listed


def describe_support(schema: Schema, reasons: Reasons) -> dict[str, Any]:
    """Return the support of one customer, who has some, as JSON values."""
    support = reasons.support
    if support is None:
        return {}
    described: dict[str, Any] = {"share": support.share, "field": schema.features[support.position].name}
    if support.low is not None:
        described |= {"low": support.low, "high": support.high}
    return described | {"sentence": reasons.support_sentence}


def score_reasoned(model: ServedModel, body: bytes, max_customers: int, leniency: Leniency = STRICT) -> ReasonedRequest:
    """Score a body whose customers will be explained.

    Parameters
    ----------
    model : ServedModel
    body : bytes
    max_customers : int
        Maximum number of customers.
    leniency : Leniency, optional

    Raises
    ------
    RequestProblem
        If the body is invalid (see `service.predict.parse.parse`), or 413 if it has too many customers.
    """
    received = perf_counter()
    request = model.parser.parse_as(body, leniency)
    parsed = perf_counter()
    if isinstance(request, SingleRequest):
        model, request = divert(model, request, body, leniency)
        raw = np.array([request.row], dtype=np.float64)
        models, raws, rows = [model], [raw], [np.zeros(1, int)]
        sent, identifiers = [parse_json(body)], [request.identifier]
    else:
        if len(request.raw) > max_customers:
            raise RequestProblem.too_many_reasoned(max_customers)
        sent = _list_sent(body)
        identifiers = request.identifiers or [None] * len(sent)
        models, raws, rows = [model], [request.raw], [np.arange(len(sent))]
        if (found := choose_rows(model, request, body, leniency)) is not None and model.canary is not None:
            chosen, other = found
            models, raws = [model, model.canary.model], [request.raw[~chosen], other.raw[chosen]]
            rows = [np.flatnonzero(~chosen), np.flatnonzero(chosen)]
            if chosen.all():
                models, raws, rows = models[1:], raws[1:], rows[1:]
    _, probabilities, stamps = run_stages(
        lambda raws: [model.scorer.prepare(raw) for model, raw in zip(models, raws, strict=True)],
        lambda matrices: [model.scorer.infer(matrix) for model, matrix in zip(models, matrices, strict=True)],
        lambda *_: None,
        raws,
        None,
        received,
        parsed,
    )
    shares = [
        _Share(
            model, rows[number].tolist(), raws[number], probabilities[number], model.scorer.version if number else None
        )
        for number, model in enumerate(models)
    ]
    named = [leniency.name_fields(normalize_keys(customer)) for customer in sent]
    return ReasonedRequest(shares, named, identifiers, stamps, body, is_single=isinstance(request, SingleRequest))


def _list_sent(body: bytes) -> list[dict[str, Any]]:
    """Return the customers of a valid list as they were sent; a large body is decoded in parts, as by its parser."""
    parts = divide(body) if len(body) > PART_BYTES else None
    if parts is not None:
        with suppress(RequestProblem):  # a part was divided in a string; the parser has checked the limits of the whole
            return [customer for part in parts for customer in parse_json(part)]
    customers: list[dict[str, Any]] = parse_json(body)[BATCH]
    return customers
