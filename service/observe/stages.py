"""Stages of a scored request and their timestamps, as passed from scoring to metrics and traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

Stamps = tuple[float, float, float, float, float, float]
"""Times at which a request was received, parsed, started (after waiting for the engine), preprocessed, inferred and
serialised, from `time.perf_counter`."""

STAMPS = 6

STAGES = ("parse", "queue", "preprocess", "inference", "serialise")
"""Names of the intervals between consecutive timestamps."""


class ScoredLone(NamedTuple):
    """A request with a single customer, scored."""

    row: Sequence[float]
    probability: float
    stamps: Stamps


class ScoredBatch(NamedTuple):
    """A request with several customers, scored."""

    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    stamps: Stamps
