"""The model that is being served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from service.predict.answers import AnswerEncoder
from service.predict.fast_parse import FastParser

if TYPE_CHECKING:
    from churn.scorer import Scorer


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A scorer with its parser of requests and encoder of responses; a request uses the same one from start to end."""

    scorer: Scorer
    parser: FastParser
    answers: AnswerEncoder

    @classmethod
    def of(cls, scorer: Scorer, max_customers: int) -> ServedModel:
        """Create it from a scorer; `max_customers` is the maximum number of customers in a JSON request."""
        return cls(scorer, FastParser(scorer.schema, max_customers), AnswerEncoder(scorer))


class ModelHolder(Protocol):
    """Provider of the model being served."""

    @property
    def model(self) -> ServedModel | None:
        """The model being served; None if none is loaded."""

    @property
    def reason(self) -> str:
        """Why the service is not ready; empty if it is."""
