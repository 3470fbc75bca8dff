"""Work that asks for scores in small parts, so that a service can do other work between them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from churn.scorer import Scorer

T = TypeVar("T")

Steps = Generator[NDArray[np.float64], NDArray[np.float64], T]
"""Yields raw matrices, shape (at most `SLICE`, features), is sent their probabilities, shape (n,), and returns T."""

SLICE = 1024
"""Customers that are scored between two pauses, about; they take 1 to 2 ms."""

CALL_COST = 128
"""What a matrix costs besides its customers, in customers: to choose it, and to call the engine."""


class Run(Generic[T]):
    """Scores what steps ask for.

    Parameters
    ----------
    scorer : Scorer
        A matrix of one row is scored as a customer alone, so that its probability is that of `POST /predict`.
    steps : Steps

    Attributes
    ----------
    evaluations : int
        Customers scored so far.
    result : T
        What the steps have returned; not set before `advance` has returned True.
    """

    result: T

    def __init__(self, scorer: Scorer, steps: Steps[T]) -> None:
        self._scorer = scorer
        self._steps = steps
        self._probabilities: NDArray[np.float64] | None = None
        self.evaluations = 0

    def advance(self) -> bool:
        """Go on for about as long as it takes to score `SLICE` customers; return whether the steps have ended."""
        cost = 0
        try:
            while cost < SLICE:
                # The first call starts the generator.
                raw = next(self._steps) if self._probabilities is None else self._steps.send(self._probabilities)
                self._probabilities = self._score(raw)
                self.evaluations += len(raw)
                cost += len(raw) + CALL_COST
        except StopIteration as end:
            self.result = end.value
            return True
        return False

    def finish(self) -> T:
        """Go on to the end and return the result."""
        while not self.advance():
            pass
        return self.result

    def _score(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(raw) == 1:
            return np.array([self._scorer.score_row(raw[0].tolist())])
        return self._scorer.score_raw(raw)
