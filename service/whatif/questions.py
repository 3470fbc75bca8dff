"""Questions about one customer: the work that answers them in slices, and the answers. Independent of HTTP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
import numpy as np

from churn.whatif.counterfactuals import propose
from churn.whatif.sensitivity import trace
from churn.whatif.steps import Run
from churn.whatif.values import show
from service.whatif.parameters import find_positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.whatif.counterfactuals import Counterfactual, Proposals
    from churn.whatif.sensitivity import Curve, Sensitivity
    from churn.whatif.steps import Steps
    from service.predict.parse import SingleRequest
    from service.predict.served_model import ServedModel

_DISTANCE_DECIMALS = 6


class Answer(Protocol):
    """What is worked out to answer a question."""

    @property
    def probability(self) -> float:
        """Probability of the customer as sent."""


T = TypeVar("T", bound=Answer)


class Question(ABC, Generic[T]):
    """A question whose answer is worked out in slices.

    Parameters
    ----------
    model : ServedModel
    request : SingleRequest
        The customer, as the model reads it.
    steps : Steps
        Work the answer out.

    Attributes
    ----------
    outcome : str
        Of a question that has been answered, for metrics.
    """

    def __init__(self, model: ServedModel, request: SingleRequest, steps: Steps[T]) -> None:
        self.outcome = ""
        self._model = model
        self._request = request
        self._run: Run[T] = Run(model.scorer, steps)

    @property
    def evaluations(self) -> int:
        """Customers scored so far."""
        return self._run.evaluations

    def advance(self) -> bytes | None:
        """Work for some milliseconds; return the answer as JSON once it is found."""
        if not self._run.advance():
            return None
        found = self._run.result
        prediction = msgspec.Raw(self._model.answers.encode_single(self._request, found.probability))
        return msgspec.json.encode({"prediction": prediction, **self._answer(found), "evaluations": self.evaluations})

    @abstractmethod
    def _answer(self, found: T) -> dict[str, Any]:
        """Return what the answer has besides the prediction, and set the outcome."""


class CounterfactualQuestion(Question["Proposals"]):
    """Asks for the smallest changes of a customer that reach a target.

    Parameters
    ----------
    target : float or None
        None for the model's threshold.
    model, request
        See `Question`.
    """

    def __init__(self, target: float | None, model: ServedModel, request: SingleRequest) -> None:
        scorer = model.scorer
        goal = scorer.threshold if target is None else target
        histograms = scorer.manifest.content["histograms"]
        super().__init__(model, request, propose(scorer.schema, histograms, _make_row(request), goal))

    def _answer(self, found: Proposals) -> dict[str, Any]:
        self.outcome = "found" if found.found else "none"
        answer: dict[str, Any] = {
            "target": found.goal.target,
            "goal": "at most" if found.goal.is_ceiling else "above",
            "complete": found.is_complete,
            "counterfactuals": [self._describe(one) for one in found.found],
        }
        return answer | {"reason": found.reason} if found.reason else answer

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


class SensitivityQuestion(Question["Sensitivity"]):
    """Asks for the probability along fields of a customer.

    Parameters
    ----------
    fields : sequence of str
        As they were sent.
    points : int
        Maximum number of points of a curve.
    model, request
        See `Question`.

    Raises
    ------
    RequestProblem
        400 if the fields are not those of the model.
    """

    def __init__(self, fields: Sequence[str], points: int, model: ServedModel, request: SingleRequest) -> None:
        schema = model.scorer.schema
        positions = find_positions(schema, list(fields))
        super().__init__(model, request, trace(schema, _make_row(request), positions, points))

    def _answer(self, found: Sensitivity) -> dict[str, Any]:
        self.outcome = "found"
        curves = [self._describe(curve) for curve in found.curves]
        return {"threshold": self._model.scorer.threshold, "curves": curves}

    def _describe(self, curve: Curve) -> dict[str, Any]:
        feature = self._model.scorer.schema.features[curve.position]
        described: dict[str, Any] = {
            "field": feature.name,
            "values": [show(feature, value) for value in curve.values.tolist()],
            "probabilities": curve.probabilities.tolist(),
            "own": curve.own,
        }
        return described if curve.missing is None else described | {"missing": curve.missing}


def _make_row(request: SingleRequest) -> NDArray[np.float64]:
    return np.array(request.row, dtype=np.float64)
