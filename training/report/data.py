"""What the report and the model card are written from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.evaluate import Part, Scores

PARTS = ("test", "validation", "train")
"""The parts a model may be judged on, the most honest first."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a retention campaign costs and brings, in any one currency.

    The defaults are those of Verbraken, Verbeke and Baesens (2013), "A Novel Profit Maximizing Metric for Measuring
    Classification Performance of Customer Churn Prediction Models", IEEE TKDE 25(5):961-973.

    Attributes
    ----------
    customer_value : float
        What a customer who stays is worth (CLV).
    offer_cost : float
        Cost of the offer to whoever accepts it (d).
    contact_cost : float
        Cost of contacting one customer (f).
    accept_rate : float
        Mean share of would-be leavers who accept and stay (gamma).

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
    """One trained model, as the report and the model card need it; equal to itself alone.

    Attributes
    ----------
    version : int
    created : str
        Time in ISO 8601; the only date in what is written.
    network : str
        Name of the architecture.
    parameters : int
        Number of weights.
    seed : int
    threshold : float
        A customer is said to leave if the probability is above it.
    schema : Schema
    source : mapping
        `Dataset.source`: file, SHA-256, row counts, dropped columns.
    notes : sequence of str
        Sentences on what was dropped.
    history : mapping of str to sequence of float
        Per epoch; may be empty.
    parts : mapping of str to Part
        ``"train"``, ``"validation"`` and ``"test"``; the last two may be absent.
    predict : callable
        From a raw matrix, shape (n, features), to probabilities, shape (n,).
    settings : mapping
        The options of the training.
    libraries : mapping of str to str
        Versions.
    command : str
        Makes the model again.
    costs : Costs
    scores : mapping of str to Scores, or None
        Per part, of all its customers, where the parts here are samples.
    program : str
        Ours: its version, and the commit where one is known; empty if it is not to be told.
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
    program: str = ""

    @property
    def is_cross_validated(self) -> bool:
        """Whether the validation part is the training part, judged by those who were not taught on each customer."""
        validation, train = self.parts.get("validation"), self.parts.get("train")
        return validation is not None and train is not None and validation.raw is train.raw

    def judged_part(self) -> Part:
        """Return the part the model is judged on: the most honest one that has customers of both classes.

        Raises
        ------
        ValueError
            If there is none.
        """
        for name in PARTS:
            part = self.parts.get(name)
            if part is not None and len(np.unique(part.labels)) > 1:
                return part
        raise ValueError("no part holds customers who left and customers who stayed: there is nothing to report")
