"""The explainer of a served model, made when reasons are asked for first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import EngineError, MissingBackgroundError
from churn.reasons.explainer import Explainer
from service.errors import RequestProblem

if TYPE_CHECKING:
    from churn.scorer import Scorer


class LazyExplainer:
    """Makes the explainer of one model and keeps it.

    Making it takes 0.05 s and some megabytes for the network that ships, and imports ONNX Runtime beside TensorFlow;
    what nobody asks for is not made.

    Parameters
    ----------
    scorer : Scorer
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._explainer: Explainer | None = None

    def check(self) -> None:
        """Raise a `RequestProblem` (409) if the model has no background."""
        if self._scorer.background is None:
            raise RequestProblem.no_background(self._scorer.version)

    def open(self) -> Explainer:
        """Return the explainer; called in the scoring thread only, so that no two are made.

        Raises
        ------
        RequestProblem
            409 if the model has no background or can't be explained.
        """
        if self._explainer is None:
            try:
                self._explainer = Explainer(self._scorer)
            except MissingBackgroundError:
                raise RequestProblem.no_background(self._scorer.version) from None
            except (EngineError, ValueError) as error:
                raise RequestProblem.no_reasons(self._scorer.version, str(error)) from error
        return self._explainer
