"""The stages of a scored request, and what is known of one that was scored: what scoring hands to its observers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Stamps = tuple[float, float, float, float, float, float]
"""When a request was received, parsed, started (when the engine was free for it: what lies before is the queue),
prepared, inferred and serialised, in seconds of `time.perf_counter`."""

STAMPS = 6

STAGES = ("parse", "queue", "preprocess", "inference", "serialise")
"""What lies between one stamp and the next."""


class ScoredLone(NamedTuple):
    """A customer scored alone."""

    row: Sequence[float]
    probability: float
    stamps: Stamps


class ScoredBatch(NamedTuple):
    """Customers scored together."""

    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    stamps: Stamps
