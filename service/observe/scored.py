"""Scored requests, which record themselves with the recorder of the model that scored them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from records.messages import Origin
    from service.observe.recorder import Recorder
    from service.observe.stages import Stamps


class ScoredSingle(NamedTuple):
    """A request with a single customer."""

    row: Sequence[float]
    probability: float
    stamps: Stamps
    recorder: Recorder
    identifier: str | int | None = None

    @property
    def customers(self) -> int:
        """Number of customers."""
        return 1

    def record(self) -> None:
        """Record the request."""
        self.recorder.record_single(self.row, self.probability, self.stamps)


class ScoredBatch(NamedTuple):
    """A request with several customers."""

    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    stamps: Stamps
    recorder: Recorder
    identifiers: Sequence[str | int | None] | None = None

    @property
    def customers(self) -> int:
        """Number of customers."""
        return len(self.raw)

    def record(self) -> None:
        """Record the request."""
        self.recorder.record_batch(self.raw, self.probabilities, self.stamps, len(self.raw))

    def list_scored(self) -> tuple[list[float], list[Origin]]:
        """Return the probability of each customer, and what scored it."""
        return self.probabilities.tolist(), [self.recorder.origin] * len(self.raw)


class ScoredSplit(NamedTuple):
    """A request with several customers, some of which another model scored.

    Attributes
    ----------
    champion, challenger : ScoredBatch
        The customers of each model.
    stamps : Stamps
        Times of the whole request.
    chosen : ndarray of bool, shape (n,)
        The customers that the challenger scored.
    identifiers : sequence of (str, int or None), length n, or None
    """

    champion: ScoredBatch
    challenger: ScoredBatch
    stamps: Stamps
    chosen: NDArray[np.bool_]
    identifiers: Sequence[str | int | None] | None = None

    @property
    def customers(self) -> int:
        """Number of customers."""
        return self.champion.customers + self.challenger.customers

    def record(self) -> None:
        """Record the request, once, and the customers with the model that scored them."""
        raw, probabilities, _, recorder, _ = self.champion
        recorder.record_batch(raw, probabilities, self.stamps, self.customers)
        self.challenger.recorder.record_customers(self.challenger.raw, self.challenger.probabilities)

    def list_scored(self) -> tuple[list[float], list[Origin]]:
        """Return the probability of each customer, and what scored it."""
        probabilities = merge(self.chosen, self.champion.probabilities, self.challenger.probabilities)
        origins = self.champion.recorder.origin, self.challenger.recorder.origin
        return probabilities.tolist(), [origins[chosen] for chosen in self.chosen.tolist()]


Scored = ScoredSingle | ScoredBatch | ScoredSplit


def merge(chosen: NDArray[np.bool_], others: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """Return values in the order of the customers: `theirs` for the chosen ones, and `others`."""
    merged = np.empty(len(chosen), dtype=others.dtype)
    merged[~chosen], merged[chosen] = others, theirs
    return merged
