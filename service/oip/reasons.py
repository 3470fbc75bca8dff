"""Reasons as output tensors of the Open Inference Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.reasons.strongest import ReasonWriter
from service.observe.reason_metrics import ReasonWork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from churn.reasons.strongest import Reason, Wanted
    from service.observe.metrics import Metrics
    from service.observe.scored import ScoredBatch
    from service.predict.served_model import ServedModel


class TensorReasons:
    """Explains the customers of one request.

    Parameters
    ----------
    model : ServedModel
    scored : ScoredBatch
        Its customers.
    """

    def __init__(self, model: ServedModel, scored: ScoredBatch) -> None:
        self._model, self._scored = model, scored
        self._reasons: list[list[Reason]] = []
        self._work = ReasonWork()

    @property
    def explained(self) -> int:
        """Number of customers explained so far."""
        return len(self._reasons)

    def explain(self, wanted: Wanted) -> Iterator[None]:
        """Explain one customer with each step."""
        return self._work.watch(self._explain_each(wanted))

    def _explain_each(self, wanted: Wanted) -> Iterator[tuple[None, int]]:
        self._writer = ReasonWriter(self._model.explainer.open(), self._model.scorer.schema, wanted)
        for reasons, evaluations in self._writer.write_each(self._scored.raw, self._scored.probabilities):
            self._reasons.append(reasons)
            yield None, evaluations

    def make_tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of `service.oip.outputs.REASON_OUTPUTS`, after `explain` has ended.

        Where a customer has fewer reasons than columns, texts are empty and numbers are 0.
        """
        shape = (len(self._reasons), self._writer.count)
        fields, sentences = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
        points, errors = np.zeros(shape), np.zeros(shape)
        names = self._model.scorer.schema.names
        for row, reasons in enumerate(self._reasons):
            for column, reason in enumerate(reasons):
                fields[row, column], sentences[row, column] = names[reason.position], reason.sentence
                points[row, column], errors[row, column] = reason.points, reason.standard_error or 0.0
        return {
            "base": np.full(len(self._reasons), self._writer.base),
            "reasons": fields,
            "reason_points": points,
            "reason_sentences": sentences,
            "reason_standard_errors": errors,
        }

    def count(self, metrics: Metrics) -> None:
        """Count the reasons."""
        metrics.reasons.count(self._work)
