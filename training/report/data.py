"""Input of the report and the model card."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.reasons.explainer import Explainer
    from churn.schema import Schema
    from training.evaluate import Part, Scores

PARTS = ("test", "validation", "train")
"""Parts for the evaluation, in order of preference."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs and value of a retention campaign, in any single currency.

    The defaults are those of Verbraken, Verbeke and Baesens (2013), "A Novel Profit Maximizing Metric for Measuring
    Classification Performance of Customer Churn Prediction Models", IEEE TKDE 25(5):961-973.

    Attributes
    ----------
    customer_value : float
        Value of a customer who stays (CLV).
    offer_cost : float
        Cost of an accepted offer (d).
    contact_cost : float
        Cost of contacting one customer (f).
    accept_rate : float
        Mean fraction of would-be leavers who accept and stay (gamma).

    Raises
    ------
    ValueError
        If an amount is negative or not finite, or the rate is not between 0 and 1.
    """

    customer_value: float = 200.0
    offer_cost: float = 10.0
    contact_cost: float = 1.0
    accept_rate: float = 0.3

    def __post_init__(self) -> None:
        for name in ("customer_value", "offer_cost", "contact_cost"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}; allowed: a number of at least 0")
        if not 0 <= self.accept_rate <= 1:
            raise ValueError(f"accept_rate is {self.accept_rate}; allowed: a number between 0 and 1")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ReportData:
    """A trained model with everything for the report and the model card. Compared by identity.

    Attributes
    ----------
    version : int
    created : str
        Time in ISO 8601; the only date in the documents.
    network : str
        Name of the architecture.
    parameters : int
        Number of weights.
    seed : int
    threshold : float
        A customer is predicted to leave above this probability.
    schema : Schema
    source : mapping
        `Dataset.source`: file, SHA-256, row counts, dropped columns.
    notes : sequence of str
        Remarks on dropped columns and rows, one sentence each.
    history : mapping of str to sequence of float
        Metrics per epoch; may be empty.
    parts : mapping of str to Part
        ``"train"``, ``"validation"`` and ``"test"``; the last two may be absent.
    predict : callable
        Maps a raw matrix, shape (n, features), to probabilities, shape (n,).
    settings : mapping
        The options of the training.
    libraries : mapping of str to str
        Library versions.
    command : str
        Command line that reproduces the model.
    costs : Costs
    scores : mapping of str to Scores, or None
        Metrics of all customers of each part, if `parts` are samples.
    warnings : sequence of str
        Sentences for the top of the report; may be empty.
    program : str
        Version of churn, with the commit if it is known; omitted if empty.
    details : mapping
        Of the default network: families with weights and losses; empty for others.
    explainer : Explainer or None
        Explains predictions; None for a version without a background.
    is_backtest : bool
        Whether a published model is evaluated on another table, which is ``test`` then.
    """

    version: int
    created: str
    network: str
    parameters: int
    seed: int
    threshold: float
    schema: Schema
    source: Mapping[str, Any]
    notes: Sequence[str]
    history: Mapping[str, Sequence[float]]
    parts: Mapping[str, Part]
    predict: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    settings: Mapping[str, Any]
    libraries: Mapping[str, str]
    command: str
    costs: Costs
    scores: Mapping[str, Scores] | None = None
    warnings: Sequence[str] = ()
    program: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    explainer: Explainer | None = None
    is_backtest: bool = False

    @property
    def is_cross_validated(self) -> bool:
        """Whether the validation part has out-of-fold predictions for the training customers."""
        validation, train = self.parts.get("validation"), self.parts.get("train")
        return validation is not None and train is not None and validation.raw is train.raw

    def judged_part(self) -> Part:
        """Return the part for the evaluation: the first of `JUDGED` that has both classes.

        Raises
        ------
        ValueError
            If no part has both classes.
        """
        for name in PARTS:
            part = self.parts.get(name)
            if part is not None and len(np.unique(part.labels)) > 1:
                return part
        raise ValueError("can't write a report: no part has both customers who left and customers who stayed")
