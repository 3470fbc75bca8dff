"""Records the requests that a model scored in the metrics, in batches, which costs a fraction of recording each."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from service.observe.deferred import DeferredCall
from service.observe.stages import STAMPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from records.messages import Origin
    from service.observe.metrics import Metrics
    from service.observe.model_counts import ModelCounts
    from service.observe.stages import Stamps

    Stacked = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
    """Arguments of `Metrics.count_scored`: raw matrix, probabilities, customers per request, timestamps."""

BUFFER_BYTES = 64 * 1024
"""Maximum size of the buffer of single customers, which fits into the processor's cache."""

BUFFER_ROWS = 4096
"""Maximum number of buffered customers that were scored together."""


class Recorder:
    """Buffers the requests that one model scored, and records them in the metrics shortly afterwards.

    They are also recorded before each scrape.

    Parameters
    ----------
    metrics : Metrics
    counts : ModelCounts
        Of the model.
    features : int
        Number of its features.
    origin : Origin

    Attributes
    ----------
    counts : ModelCounts
    origin : Origin
        The model, in the records of what it scored.
    """

    def __init__(self, metrics: Metrics, counts: ModelCounts, features: int, origin: Origin) -> None:
        self.counts = counts
        self.origin = origin
        self._metrics = metrics
        self._deferred_flush = DeferredCall(self.flush)
        # Packed numbers: tuples would be tracked by the garbage collector.
        self._singles = bytearray()
        self._features = features
        self._pack = struct.Struct(f"{features + 1 + STAMPS}d").pack
        self._stacked: list[Stacked] = []
        self._rows = 0
        metrics.buffers.add(self)

    def record_single(self, row: Sequence[float], probability: float, stamps: Stamps) -> None:
        """Record a request with a single customer."""
        self._singles += self._pack(*row, probability, *stamps)
        if len(self._singles) >= BUFFER_BYTES:
            self.flush()
        else:
            self._deferred_flush.schedule()

    def record_together(
        self, raw: NDArray[np.float64], probabilities: NDArray[np.float64], stamps: NDArray[np.float64]
    ) -> None:
        """Record requests with a single customer each that were scored together; `stamps` has shape (requests, 6)."""
        self._append((raw, probabilities, np.ones(len(raw), np.int64), stamps))

    def record_batch(
        self, raw: NDArray[np.float64], probabilities: NDArray[np.float64], stamps: Stamps, size: int
    ) -> None:
        """Record a request with `size` customers, of which this model scored those given.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        probabilities : ndarray of float64, shape (n,)
        stamps : Stamps
        size : int
        """
        self._append((raw, probabilities, np.array([size]), np.array([stamps])))

    def record_customers(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Record customers of a request that is recorded elsewhere.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        probabilities : ndarray of float64, shape (n,)
        """
        self._append((raw, probabilities, np.empty(0, np.int64), np.empty((0, STAMPS))))

    def count_canary_fallback(self, customers: int) -> None:
        """Count customers of the canary that this model scored instead."""
        self._metrics.count_canary_fallback(customers)

    def _append(self, stacked: Stacked) -> None:
        self._stacked.append(stacked)
        self._rows += len(stacked[0])
        if self._rows >= BUFFER_ROWS:
            self.flush()
        else:
            self._deferred_flush.schedule()

    def flush(self) -> None:
        """Record the buffered requests."""
        if self._singles:
            records = np.frombuffer(bytes(self._singles)).reshape(-1, self._features + 1 + STAMPS)
            self._singles.clear()
            raw, probabilities, stamps = np.split(records, [self._features, self._features + 1], axis=1)
            self._metrics.count_scored(self.counts, raw, probabilities[:, 0], np.ones(len(raw), np.int64), stamps)
        if self._stacked:
            stacked, self._stacked, self._rows = self._stacked, [], 0
            raw, probabilities, sizes, stamps = map(np.concatenate, zip(*stacked, strict=True))
            self._metrics.count_scored(self.counts, raw, probabilities, sizes, stamps)
