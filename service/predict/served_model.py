"""The model that is being served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from records.messages import Origin
from service.guard.json_limits import JsonLimits
from service.observe.recorder import Recorder
from service.predict.answers import AnswerEncoder
from service.predict.fast_parse import FastParser
from service.predict.lazy_explainer import LazyExplainer

if TYPE_CHECKING:
    from churn.scorer import Scorer
    from service.observe.metrics import Metrics


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A scorer with all that is derived from it; a request uses the same one from start to end.

    Attributes
    ----------
    scorer : Scorer
    parser : FastParser
    answers : AnswerEncoder
    recorder : Recorder
    explainer : LazyExplainer
    canary : Canary or None
        The model that scores a share of the customers instead, if there is one.
    """

    scorer: Scorer
    parser: FastParser
    answers: AnswerEncoder
    recorder: Recorder
    explainer: LazyExplainer
    canary: Canary | None = None

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        max_customers: int,
        metrics: Metrics,
        limits: JsonLimits = JsonLimits(),  # noqa: B008  immutable
    ) -> ServedModel:
        """Create it from a scorer; `max_customers` is the maximum number of customers in a JSON request.

        Raises
        ------
        BundleError
            If the histograms of the model can't be read.
        """
        manifest = str(scorer.manifest.content["manifest_sha256"])
        origin = Origin(scorer.threshold, scorer.version, manifest, scorer.engine.name)
        recorder = Recorder(metrics, metrics.watch_model(scorer), len(scorer.schema.features), origin)
        parser = FastParser(scorer.schema, max_customers, limits)
        return cls(scorer, parser, AnswerEncoder(scorer), recorder, LazyExplainer(scorer))


@dataclass(frozen=True, slots=True)
class Canary:
    """A model that scores a share of the customers, from 0 to 1, instead of the served one."""

    model: ServedModel
    share: float


class ModelHolder(Protocol):
    """Provider of the model being served."""

    @property
    def model(self) -> ServedModel | None:
        """The model being served; None if none is loaded."""

    @property
    def reason(self) -> str:
        """Why the service is not ready; empty if it is."""
