"""Explain the probabilities of customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from churn.errors import MissingBackgroundError
from churn.reasons.estimate import PathSampling, count_least
from churn.reasons.exact import Enumeration
from churn.reasons.networks import open_network
from churn.reasons.support import SupportFinder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.reasons.support import Support
    from churn.support import SupportData

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
    inputs : ndarray of float32, shape (n, width)
        What enters the network.
    """

    points: NDArray[np.float64]
    errors: NDArray[np.float64] | None
    probabilities: NDArray[np.float64]
    evaluations: int
    inputs: NDArray[np.float32]


class Explained(Protocol):
    """What is explained: a `Scorer`, or a network that is not published yet.

    Attributes are those of `Scorer`.
    """

    @property
    def version(self) -> str: ...  # noqa: D102  see Scorer

    @property
    def background(self) -> NDArray[np.float64] | None: ...  # noqa: D102  see Scorer

    @property
    def support(self) -> SupportData | None: ...  # noqa: D102  see Scorer

    @property
    def network(self) -> bytes: ...  # noqa: D102  see Scorer

    @property
    def sources(self) -> NDArray[np.int64]: ...  # noqa: D102  see Scorer

    def prepare_rows(self, rows: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:  # noqa: D102  see Scorer
        ...


class Explainer:
    """Computes interventional Shapley values of the probability against the background of a model version.

    The ONNX file of the network is used whatever engine the scorer has, and each customer is explained alone: values
    depend neither on the engine nor on the other customers. Methods may be called by several threads.

    Parameters
    ----------
    scorer : Explained
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
    has_support, has_range : bool
        Whether the version says how rare a customer is, and in which range the probability may be as well.

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
        self, scorer: Explained, *, exact_features: int = EXACT_FEATURES, budget: int | None = None, seed: int = 0
    ) -> None:
        if scorer.background is None:
            raise MissingBackgroundError(
                f"model version {scorer.version} has no background of customers to explain predictions against: it was "
                "trained by an older program; retrain it with churn train"
            )
        self.background = scorer.background
        self._scorer, self._seed = scorer, seed
        matrix = scorer.prepare_rows(self.background.tolist(), self.background)
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
        data = scorer.support
        self._finder = None if data is None else SupportFinder(data, matrix.shape[1])
        self.has_support, self.has_range = data is not None, data is not None and data.members is not None

    def limit(self, budget: int) -> Explainer:
        """Return an explainer of the same version that always estimates, with about `budget` evaluations a customer.

        It takes at least those of one pair of orders for each customer of the background.
        """
        least = count_least(len(self.heard), len(self.background))
        return Explainer(self._scorer, exact_features=0, budget=max(budget, least), seed=self._seed)

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
        if not len(raw):
            return Explanation(points, errors, probabilities, 0, np.empty((0, len(self._scorer.sources)), np.float32))
        inputs = self._scorer.prepare_rows(raw.tolist(), raw)
        for row, customer in enumerate(self._network.read(inputs)):
            found = self._method.explain(customer)
            probabilities[row] = found.probability
            points[row, self.heard] = found.values
            if errors is not None:
                errors[row, self.heard] = found.errors
            evaluations += found.evaluations
        return Explanation(points, errors, probabilities, evaluations, inputs)

    def find_support(self, raw: NDArray[np.float64], found: Explanation) -> list[Support | None]:
        """Return how far the probability of each customer can be trusted; None if the version does not know.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        found : Explanation
            Of the same customers.
        """
        if self._finder is None:
            return [None] * len(raw)
        rows = [slice(row, row + 1) for row in range(len(raw))]
        return [
            self._finder.find(raw[row], found.inputs[row], probability)
            for row, probability in zip(rows, found.probabilities.tolist(), strict=True)
        ]
