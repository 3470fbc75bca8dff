"""Probabilities to an answer's bytes."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from churn.columns import find_unusual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.scorer import Scorer
    from service.predict.parse import Batch, Lone


class AnswerEncoder:
    """Writes the answers of one model.

    Parameters
    ----------
    scorer : Scorer
        Of a schema whose identifier has a name that answers can hold: `churn.names.find_fault`.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._schema = scorer.schema
        self._version = scorer.version
        fields: list[Any] = [("probability", float), ("churn", bool)]
        # A field that was not sent, and warnings that there are none of, are left out of the answer.
        extra: list[Any] = [("identifier", Any, msgspec.UNSET), ("warnings", Any, msgspec.UNSET)]
        options: Any = {"rename": {"identifier": scorer.schema.identifier}, "gc": False}
        self._prediction: Any = msgspec.defstruct("Prediction", fields + extra, **options)
        self._lone: Any = msgspec.defstruct("Answer", [*fields, ("model_version", str), *extra], **options)
        self._encode = msgspec.json.Encoder().encode

    def encode_lone(self, request: Lone, probability: float, *, leaves: bool) -> bytes:
        """Return the answer for a customer sent by itself."""
        answer = self._lone(probability, leaves, self._version)
        if request.identifier is not None:
            answer.identifier = request.identifier
        if request.may_be_unusual:
            for warnings in describe_unusual(self._schema, np.array([request.row])).values():
                answer.warnings = warnings
        return self._encode(answer)

    def encode_lones(
        self, requests: Sequence[Lone], probabilities: NDArray[np.float64], decisions: NDArray[np.bool_]
    ) -> list[bytes]:
        """Return the answer for each of several customers, each sent by itself."""
        return [
            self.encode_lone(request, probability, leaves=leaves)
            for request, probability, leaves in zip(requests, probabilities.tolist(), decisions.tolist(), strict=True)
        ]

    def encode_batch(
        self,
        request: Batch,
        probabilities: NDArray[np.float64],
        decisions: NDArray[np.bool_],
    ) -> bytes:
        """Return the answer for a batch, in the order of its customers."""
        named: Any = repeat(msgspec.UNSET)
        if request.identifiers:
            named = (msgspec.UNSET if name is None else name for name in request.identifiers)
        predictions = list(map(self._prediction, probabilities.tolist(), decisions.tolist(), named))
        if request.may_be_unusual:
            for row, warnings in describe_unusual(self._schema, request.raw).items():
                predictions[row].warnings = warnings
        return self._encode({"predictions": predictions, "model_version": self._version})


def describe_unusual(schema: Schema, raw: NDArray[np.float64]) -> dict[int, list[dict[str, Any]]]:
    """Describe the values that were scored although training saw none like them, per row of the raw matrix."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row, position in find_unusual(schema, raw):
        feature = schema.features[position]
        found.setdefault(row, []).append(
            {
                "field": feature.name,
                "sent": feature.show(float(raw[row, position])),
                "trained_minimum": feature.show(feature.trained_minimum),
                "trained_maximum": feature.show(feature.trained_maximum),
            }
        )
    return found
