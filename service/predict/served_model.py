"""The model that requests are scored with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from service.predict.answers import AnswerEncoder
from service.predict.fast_parse import FastParser

if TYPE_CHECKING:
    from churn.scorer import Scorer


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A scorer with what reads its requests and writes its answers; a request keeps the one it began with."""

    scorer: Scorer
    parser: FastParser
    answers: AnswerEncoder

    @classmethod
    def of(cls, scorer: Scorer, max_customers: int) -> ServedModel:
        """Make the model of a scorer; `max_customers` is the limit of one JSON request."""
        return cls(scorer, FastParser(scorer.schema, max_customers), AnswerEncoder(scorer))


class ModelHolder(Protocol):
    """What knows the model that is served, if there is one."""

    @property
    def model(self) -> ServedModel | None:
        """None while none is loaded."""

    @property
    def reason(self) -> str:
        """Why the service is not ready; empty if it is."""
