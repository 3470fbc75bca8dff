"""Scored requests, which record themselves with the recorder of the model that scored them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from service.observe.recorder import Recorder
    from service.observe.stages import Stamps


class ScoredSingle(NamedTuple):
    """A request with a single customer."""

    row: Sequence[float]
    probability: float
    stamps: Stamps
    recorder: Recorder

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

    @property
    def customers(self) -> int:
        """Number of customers."""
        return len(self.raw)

    def record(self) -> None:
        """Record the request."""
        self.recorder.record_batch(self.raw, self.probabilities, self.stamps, len(self.raw))


class ScoredSplit(NamedTuple):
    """A request with several customers, some of which another model scored.

    Attributes
    ----------
    champion, challenger : ScoredBatch
        The customers of each model.
    stamps : Stamps
        Times of the whole request.
    """

    champion: ScoredBatch
    challenger: ScoredBatch
    stamps: Stamps

    @property
    def customers(self) -> int:
        """Number of customers."""
        return self.champion.customers + self.challenger.customers

    def record(self) -> None:
        """Record the request, once, and the customers with the model that scored them."""
        raw, probabilities, _, recorder = self.champion
        recorder.record_batch(raw, probabilities, self.stamps, self.customers)
        self.challenger.recorder.record_customers(self.challenger.raw, self.challenger.probabilities)


Scored = ScoredSingle | ScoredBatch | ScoredSplit
