"""Encode responses to scoring requests as JSON."""

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
    from service.predict.parse import BatchRequest, SingleRequest


class AnswerEncoder:
    """Encode the responses of one model.

    Parameters
    ----------
    scorer : Scorer
        The name of its identifier must not be that of another response field; see `churn.names.find_fault`.

    Attributes
    ----------
    schema, version, threshold
        Of the scorer.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.schema = scorer.schema
        self.version = scorer.version
        self.threshold = scorer.threshold
        fields: list[Any] = [("probability", float), ("churn", bool)]
        # The identifier is omitted if it was not sent, and warnings if there are none.
        extra: list[Any] = [("identifier", Any, msgspec.UNSET), ("warnings", Any, msgspec.UNSET)]
        options: Any = {"rename": {"identifier": scorer.schema.identifier}, "gc": False}
        self._prediction: Any = msgspec.defstruct("Prediction", fields + extra, **options)
        mixed: Any = [*extra, ("model_version", Any, msgspec.UNSET)]
        self._mixed: Any = msgspec.defstruct("MixedPrediction", fields + mixed, **options)
        self._single: Any = msgspec.defstruct("Answer", [*fields, ("model_version", str), *extra], **options)
        self._encode = msgspec.json.Encoder().encode

    def encode_single(self, request: SingleRequest, probability: float) -> bytes:
        """Return the response to a request with one customer."""
        answer = self._single(probability, probability > self.threshold, self.version)
        if request.identifier is not None:
            answer.identifier = request.identifier
        if request.may_be_unusual:
            for warnings in describe_unusual(self.schema, np.array([request.row])).values():
                answer.warnings = warnings
        return self._encode(answer)

    def encode_singles(self, requests: Sequence[SingleRequest], probabilities: NDArray[np.float64]) -> list[bytes]:
        """Return the responses to several requests with one customer each.

        Parameters
        ----------
        requests : sequence of SingleRequest
        probabilities : ndarray of float64, shape (requests,)
        """
        return list(map(self.encode_single, requests, probabilities.tolist()))

    def encode_batch(self, request: BatchRequest, probabilities: NDArray[np.float64]) -> bytes:
        """Return the response to a request with several customers, in the order of the request.

        Parameters
        ----------
        request : BatchRequest
        probabilities : ndarray of float64, shape (customers,)
        """
        named: Any = repeat(msgspec.UNSET)
        if request.identifiers:
            named = (msgspec.UNSET if name is None else name for name in request.identifiers)
        predictions = list(
            map(self._prediction, probabilities.tolist(), (probabilities > self.threshold).tolist(), named)
        )
        if request.may_be_unusual:
            for row, warnings in describe_unusual(self.schema, request.raw).items():
                predictions[row].warnings = warnings
        return self._encode({"predictions": predictions, "model_version": self.version})

    def encode_split(
        self,
        requests: tuple[BatchRequest, BatchRequest],
        probabilities: tuple[NDArray[np.float64], NDArray[np.float64]],
        chosen: NDArray[np.bool_],
        other: AnswerEncoder,
    ) -> bytes:
        """Return the response to a batch that two models scored.

        Parameters
        ----------
        requests : tuple of two BatchRequest
            The whole batch as this model and as the other one reads it.
        probabilities : tuple of two ndarray of float64
            Of the customers that each of them scored.
        chosen : ndarray of bool, shape (n,)
            The customers that the other model scored; their predictions name its version.
        other : AnswerEncoder
        """
        names = requests[0].identifiers or [None] * len(chosen)
        predictions: list[Any] = [None] * len(chosen)
        for encoder, request, found, rows in (
            (self, requests[0], probabilities[0], np.flatnonzero(~chosen)),
            (other, requests[1], probabilities[1], np.flatnonzero(chosen)),
        ):
            version = encoder.version if encoder is other else msgspec.UNSET
            for row, probability in zip(rows.tolist(), found.tolist(), strict=True):
                name = msgspec.UNSET if names[row] is None else names[row]
                predictions[row] = self._mixed(
                    probability, probability > encoder.threshold, name, model_version=version
                )
            if request.may_be_unusual:
                for position, warnings in describe_unusual(encoder.schema, request.raw[rows]).items():
                    predictions[rows[position]].warnings = warnings
        return self._encode({"predictions": predictions, "model_version": self.version})


def describe_unusual(schema: Schema, raw: NDArray[np.float64]) -> dict[int, list[dict[str, Any]]]:
    """Return the warnings for values outside the range seen in training.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.

    Returns
    -------
    dict of int to list of dict
        The warnings by row; only rows that have any.
    """
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
