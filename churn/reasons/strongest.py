"""Choose the strongest reasons of predictions, round them as they are published, and word them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from churn.reasons.rounding import DECIMALS, round_points
from churn.reasons.sentences import write_sentence, write_support_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.reasons.explainer import Explainer
    from churn.reasons.support import Support
    from churn.schema import Schema

Wanted = int | Literal["all"]
"""Number of reasons for each customer; ``"all"`` lists every field, also those without an effect."""

ALLOWED = "a whole number from 1 to 9999, or all"

_is_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class Reason(NamedTuple):
    """What one field does to the probability of one customer.

    Attributes
    ----------
    position : int
        Of the field in the schema.
    points : float
        What it adds to the probability, from -1 to 1, rounded to `DECIMALS`.
    sentence : str
    standard_error : float or None
        Of `points`, rounded likewise; None if they are exact.
    """

    position: int
    points: float
    sentence: str
    standard_error: float | None


class Reasons(NamedTuple):
    """What is said of one customer.

    Attributes
    ----------
    listed : list of Reason
        The strongest first; equally strong ones in the order of the schema.
    support : Support or None
        How far the probability can be trusted; None if the model version does not know.
    support_sentence : str
        The same in words; empty if there is no support.
    """

    listed: list[Reason]
    support: Support | None
    support_sentence: str


def read_wanted(text: str) -> Wanted:
    """Return the number of reasons that a text asks for.

    Raises
    ------
    ValueError
        If it is not one of `ALLOWED`.
    """
    if text == "all":
        return "all"
    if not _is_number(text):
        raise ValueError(f"{text!r} is not a number of reasons; allowed: {ALLOWED}")
    return int(text)


class ReasonWriter:
    """Lists the strongest reasons of customers. Methods may be called by several threads.

    Parameters
    ----------
    explainer : Explainer
    schema : Schema
    wanted : int or "all"

    Attributes
    ----------
    base : float
        Mean probability of the background, rounded to `DECIMALS`.
    count : int
        Largest number of reasons that a customer can have.
    is_exact : bool
        Whether the points are not estimates.
    has_support, has_range : bool
        Whether the customers have support, and a range of the probability.
    """

    def __init__(self, explainer: Explainer, schema: Schema, wanted: Wanted) -> None:
        self._explainer = explainer
        self._features = schema.features
        self._lists_all = wanted == "all"
        self.count = len(schema.features) if wanted == "all" else min(wanted, len(schema.features))
        self.base = round(explainer.base, DECIMALS)
        self.is_exact = explainer.exact
        self.has_support, self.has_range = explainer.has_support, explainer.has_range

    def write_each(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> Iterator[tuple[Reasons, int]]:
        """Yield the results of `write` customer by customer, each explained when it is asked for."""
        for row in range(len(raw)):
            (reasons,), evaluations = self.write(raw[row : row + 1], probabilities[row : row + 1])
            yield reasons, evaluations

    def write(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> tuple[list[Reasons], int]:
        """Explain customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            Validated, as for `Scorer.score_raw`.
        probabilities : ndarray of float64, shape (n,)
            As they are published: `base` and the points of all fields add up to them.

        Returns
        -------
        reasons : list of Reasons
            Of each customer. Fields whose rounded points are 0 are listed only if all are wanted.
        evaluations : int
            Mixtures of customers that were scored.
        """
        found = self._explainer.explain(raw)
        points, _ = round_points(found.points, probabilities, self._explainer.base)
        errors = None if found.errors is None else np.round(found.errors, DECIMALS).tolist()
        reasons = []
        support = self._explainer.find_support(raw, found)
        for row, values in enumerate((points + 0.0).tolist()):  # no negative zeros
            positions = sorted(range(len(values)), key=lambda position: -abs(values[position]))
            if not self._lists_all:
                positions = [position for position in positions[: self.count] if values[position]]
            listed = [
                Reason(
                    position,
                    values[position],
                    write_sentence(
                        self._features[position],
                        float(raw[row, position]),
                        values[position],
                        is_exact=self.is_exact,
                    ),
                    None if errors is None else errors[row][position],
                )
                for position in positions
            ]
            reasons.append(Reasons(listed, support[row], self._word(support[row])))
        return reasons, found.evaluations

    def _word(self, support: Support | None) -> str:
        if support is None:
            return ""
        return write_support_sentence(support.share, self._features[support.position], support.low, support.high)
