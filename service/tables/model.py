"""The model that scores a table, as far as tables need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from churn.reasons.explainer import Explainer
    from churn.scorer import Scorer
    from service.observe.recorder import Recorder


class TableExplainer(Protocol):
    """Explains the customers of a table."""

    def check(self) -> None:
        """Raise a `RequestProblem` if the model can't be explained."""

    def open(self) -> Explainer:
        """Return the explainer; called in the thread."""
        ...


class TableModel(Protocol):
    """The model that scores a table."""

    @property
    def scorer(self) -> Scorer:
        """Scores the rows."""

    @property
    def recorder(self) -> Recorder:
        """Has the counts of the model."""

    @property
    def explainer(self) -> TableExplainer:
        """Explains the rows."""

    @property
    def canary(self) -> TableCanary | None:
        """The model that scores a share of the rows instead, if there is one."""


class TableCanary(Protocol):
    """The model that scores a share of the rows."""

    @property
    def model(self) -> TableModel:
        """The model."""
        ...

    @property
    def share(self) -> float:
        """The share, from 0 to 1."""
        ...
