"""Explain the probabilities of customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.errors import MissingBackgroundError
from churn.reasons.estimate import PathSampling, count_least
from churn.reasons.exact import Enumeration
from churn.reasons.networks import open_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.scorer import Scorer

EXACT_FEATURES = 12
"""Up to this number of features that the network hears, all coalitions are enumerated."""

BUDGET = 2**15
"""Evaluations of the network for a customer beyond `EXACT_FEATURES`."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Shapley values of customers.

    Attributes
    ----------
    points : ndarray of float64, shape (n, features)
        What each feature of the schema adds to the probability; exactly 0 for features that the network does not hear.
        ``base + points.sum(axis=1)`` is `probabilities` up to 1e-12.
    errors : ndarray of float64, shape (n, features), or None
        Standard errors; None if the values are exact.
    probabilities : ndarray of float64, shape (n,)
        Not rounded. They differ from the scorer's by at most 1e-6, as engines do, and by the scorer's rounding.
    evaluations : int
        Mixtures of customers that were scored.
    """

    points: NDArray[np.float64]
    errors: NDArray[np.float64] | None
    probabilities: NDArray[np.float64]
    evaluations: int


class Explainer:
    """Computes interventional Shapley values of the probability against the background of a model version.

    The ONNX file of the network is used whatever engine the scorer has, and each customer is explained alone: values
    depend neither on the engine nor on the other customers. Methods may be called by several threads.

    Parameters
    ----------
    scorer : Scorer
        Its model version has a background.
    exact_features : int
        Up to this number of heard features the values are exact.
    budget : int or None
        Evaluations for a customer beyond it. By default `BUDGET`, or the least possible number if that is larger, which
        is so with 165 features or more and a background of 100 customers.
    seed : int
        Of the estimates.

    Attributes
    ----------
    base : float
        Mean probability of the background.
    exact : bool
        Whether the values are exact.
    background : ndarray of float64, shape (m, features)

    Raises
    ------
    MissingBackgroundError
        If the model version has no background.
    EngineError
        If the network can't be read.
    ValueError
        If the budget is too small for the number of features.
    """

    def __init__(
        self, scorer: Scorer, *, exact_features: int = EXACT_FEATURES, budget: int | None = None, seed: int = 0
    ) -> None:
        if scorer.background is None:
            raise MissingBackgroundError(
                f"model version {scorer.version} has no background of customers to explain predictions against: it was "
                "trained by an older program; retrain it with churn train"
            )
        self.background = scorer.background
        self._scorer = scorer
        matrix = scorer.prepare(self.background)
        network = open_network(scorer.network, scorer.sources, matrix)
        self._network = network
        entries = network.read(matrix)
        network.fix(entries)
        scores = np.array([network.run(row) for row in entries])
        self.base = float(scores.mean())
        self.exact = len(network.features) <= exact_features
        self._method: Enumeration | PathSampling
        if self.exact:
            self._method = Enumeration(network, entries, scores)
        else:
            least = count_least(len(network.features), len(entries))
            self._method = PathSampling(
                network, entries, scores, max(BUDGET, least) if budget is None else budget, seed
            )

    @property
    def heard(self) -> NDArray[np.int64]:
        """Features that the network hears, as columns of the raw matrix, ascending."""
        return self._network.features

    def explain(self, raw: NDArray[np.float64]) -> Explanation:
        """Explain customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            Validated, as for `Scorer.score_raw`.
        """
        points = np.zeros(raw.shape)
        errors = None if self.exact else np.zeros(raw.shape)
        probabilities = np.empty(len(raw))
        evaluations = 0
        for row, customer in enumerate(self._network.read(self._scorer.prepare(raw)) if len(raw) else ()):
            probabilities[row] = self._network.run(customer)
            values, spread, count = self._method.explain(customer, probabilities[row])
            points[row, self.heard] = values
            if errors is not None:
                errors[row, self.heard] = spread
            evaluations += 1 + count
        return Explanation(points, errors, probabilities, evaluations)
