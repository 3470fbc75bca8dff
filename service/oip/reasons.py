"""Reasons as output tensors of the Open Inference Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.reasons.record import write_reasons
from churn.reasons.strongest import ReasonWriter
from service.observe.reason_metrics import ReasonWork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from churn.reasons.strongest import Reasons, Wanted
    from churn.schema import Schema
    from service.oip.scoring import ScoredTensors


class TensorReasons:
    """Explains the customers of one request, each with the model that scored it.

    Parameters
    ----------
    scored : ScoredTensors
    """

    def __init__(self, scored: ScoredTensors) -> None:
        self._scored = scored
        self._reasons: list[tuple[Schema, Reasons] | None] = [None] * scored.customers
        self._base = np.zeros(scored.customers)
        self._count = 0
        self._work = ReasonWork()

    @property
    def work(self) -> ReasonWork:
        """What the reasons have taken so far."""
        return self._work

    def explain(self, wanted: Wanted) -> Iterator[None]:
        """Explain one customer with each step."""
        return self._work.watch(self._explain_each(wanted))

    def _explain_each(self, wanted: Wanted) -> Iterator[tuple[None, int]]:
        for (model, rows, raw), probabilities in zip(self._scored.parts, self._scored.found, strict=True):
            schema = model.scorer.schema
            writer = ReasonWriter(model.explainer.open(), schema, wanted)
            self._count = max(self._count, writer.count)
            self._base[rows] = writer.base
            for row, (reasons, evaluations) in zip(rows.tolist(), writer.write_each(raw, probabilities), strict=True):
                self._reasons[row] = schema, reasons
                yield None, evaluations

    def make_tensors(self) -> Mapping[str, NDArray[Any]]:
        """Return the outputs of `service.oip.outputs.REASON_OUTPUTS`, after `explain` has ended.

        Where a customer has fewer reasons than columns, or the version does not know the support or its range, texts
        are empty and numbers are 0.
        """
        found = [one for one in self._reasons if one is not None]
        shape = (len(found), self._count)
        fields, sentences = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
        points, errors = np.zeros(shape), np.zeros(shape)
        for row, (schema, reasons) in enumerate(found):
            names = schema.names
            for column, reason in enumerate(reasons.listed):
                fields[row, column], sentences[row, column] = names[reason.position], reason.sentence
                points[row, column], errors[row, column] = reason.points, reason.standard_error or 0.0
        support = [(schema, own.support) for schema, own in found]
        return {
            "base": self._base,
            "reasons": fields,
            "reason_points": points,
            "reason_sentences": sentences,
            "reason_standard_errors": errors,
            "support_share": np.array([0.0 if one is None else one.share for _, one in support]),
            "support_field": np.array(
                ["" if one is None else schema.names[one.position] for schema, one in support], dtype=object
            ),
            "support_low": np.array([0.0 if one is None else one.low or 0.0 for _, one in support]),
            "support_high": np.array([0.0 if one is None else one.high or 0.0 for _, one in support]),
            "support_sentence": np.array([own.support_sentence for _, own in found], dtype=object),
        }

    def write(self) -> list[str]:
        """Return the reasons of each customer as JSON, for records."""
        return [write_reasons(schema, own.listed) for schema, own in filter(None, self._reasons)]
