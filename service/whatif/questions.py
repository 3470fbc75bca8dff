"""Questions about one customer: the work that answers them in slices, and the answers. Independent of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from churn.whatif.counterfactuals import propose
from churn.whatif.sensitivity import trace
from churn.whatif.steps import Run
from churn.whatif.values import show
from service.whatif.parameters import find_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.whatif.counterfactuals import Counterfactual, Proposals
    from churn.whatif.sensitivity import Curve, Sensitivity
    from service.predict.parse import SingleRequest
    from service.predict.served_model import ServedModel

_DISTANCE_DECIMALS = 6


class Question(Protocol):
    """A question whose answer is worked out in slices.

    Attributes
    ----------
    outcome : str
        Of a question that has been answered, for metrics.
    """

    outcome: str

    @property
    def evaluations(self) -> int:
        """Customers scored so far."""

    def advance(self) -> bytes | None:
        """Work for some milliseconds; return the answer as JSON once it is found."""


class CounterfactualQuestion:
    """Asks for the smallest changes of a customer that reach a target.

    Parameters
    ----------
    target : float or None
        None for the model's threshold.
    model : ServedModel
    request : SingleRequest
        The customer, as the model reads it.
    """

    def __init__(self, target: float | None, model: ServedModel, request: SingleRequest) -> None:
        self.outcome = ""
        self._model = model
        self._request = request
        scorer = model.scorer
        histograms = scorer.manifest.content["histograms"]
        goal = scorer.threshold if target is None else target
        row = np.array(request.row, dtype=np.float64)
        self._run: Run[Proposals] = Run(scorer, propose(scorer.schema, histograms, row, goal))

    @property
    def evaluations(self) -> int:
        """Customers scored so far."""
        return self._run.evaluations

    def advance(self) -> bytes | None:
        """Score a slice; return the answer as JSON once it is found."""
        if not self._run.advance():
            return None
        found = self._run.result
        self.outcome = "found" if found.found else "none"
        answer: dict[str, Any] = {
            "prediction": msgspec.Raw(self._model.answers.encode_single(self._request, found.probability)),
            "target": found.goal.target,
            "goal": "at most" if found.goal.is_ceiling else "above",
            "complete": found.is_complete,
            "counterfactuals": [self._describe(one) for one in found.found],
        }
        if found.reason:
            answer["reason"] = found.reason
        return msgspec.json.encode(answer | {"evaluations": self.evaluations})

    def _describe(self, one: Counterfactual) -> dict[str, Any]:
        features, row = self._model.scorer.schema.features, self._request.row
        return {
            "changes": [
                {
                    "field": features[change.position].name,
                    "from": show(features[change.position], row[change.position]),
                    "to": show(features[change.position], change.value),
                    "distance": round(change.distance, _DISTANCE_DECIMALS),
                }
                for change in one.changes
            ],
            "distance": round(one.distance, _DISTANCE_DECIMALS),
            "probability": one.probability,
            "churn": one.probability > self._model.scorer.threshold,
        }


class SensitivityQuestion:
    """Asks for the probability along fields of a customer.

    Parameters
    ----------
    fields : sequence of str
        As they were sent.
    points : int
        Maximum number of points of a curve.
    model : ServedModel
    request : SingleRequest
        The customer, as the model reads it.

    Raises
    ------
    RequestProblem
        400 if the fields are not those of the model.
    """

    def __init__(self, fields: Sequence[str], points: int, model: ServedModel, request: SingleRequest) -> None:
        self.outcome = ""
        self._model = model
        self._request = request
        scorer = model.scorer
        positions = find_positions(scorer.schema, list(fields))
        row = np.array(request.row, dtype=np.float64)
        self._run: Run[Sensitivity] = Run(scorer, trace(scorer.schema, row, positions, points))

    @property
    def evaluations(self) -> int:
        """Customers scored so far."""
        return self._run.evaluations

    def advance(self) -> bytes | None:
        """Score a slice; return the answer as JSON once it is complete."""
        if not self._run.advance():
            return None
        found = self._run.result
        self.outcome = "found"
        return msgspec.json.encode({
            "prediction": msgspec.Raw(self._model.answers.encode_single(self._request, found.probability)),
            "threshold": self._model.scorer.threshold,
            "curves": [self._describe(curve) for curve in found.curves],
            "evaluations": self.evaluations,
        })  # fmt: skip

    def _describe(self, curve: Curve) -> dict[str, Any]:
        feature = self._model.scorer.schema.features[curve.position]
        described: dict[str, Any] = {
            "field": feature.name,
            "values": [show(feature, value) for value in curve.values.tolist()],
            "probabilities": curve.probabilities.tolist(),
            "own": curve.own,
        }
        return described if curve.missing is None else described | {"missing": curve.missing}
