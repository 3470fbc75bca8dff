"""Counts scored requests: what is scored within a moment is counted together, at a fraction of the price."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from service.observe.deferred import Soon
from service.observe.stages import STAMPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.observe.metrics import Metrics
    from service.observe.stages import ScoredBatch, Stamps

    Stacked = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
    """Customers, their probabilities, how many each request had, the requests' stamps: `Metrics.count_scored`'s."""

GATHERED_BYTES = 64 * 1024
"""Lone customers, as bytes, that are counted together at most: few enough to stay in the processor's cache."""

GATHERED_ROWS = 4096
"""Customers scored together that are counted together at most."""


class Recorder:
    """Counts what was scored in the metrics; a scrape sees all of the worker that it asks.

    Parameters
    ----------
    metrics : Metrics
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._soon = Soon(self.flush)
        # Packed numbers: as many tuples would keep the garbage collector busy.
        self._lone = bytearray()
        self._features = 0
        self._pack = struct.Struct("").pack
        self._stacked: list[Stacked] = []
        self._rows = 0
        metrics.before_exposing = self.flush

    def record_lone(self, row: Sequence[float], probability: float, stamps: Stamps) -> None:
        """Count an answered request with one customer."""
        if len(row) != self._features:  # another model's
            self.flush()
            self._features = len(row)
            self._pack = struct.Struct(f"{len(row) + 1 + STAMPS}d").pack
        self._lone += self._pack(*row, probability, *stamps)
        if len(self._lone) >= GATHERED_BYTES:
            self.flush()
        else:
            self._soon.ask()

    def record_together(
        self, raw: NDArray[np.float64], probabilities: NDArray[np.float64], stamps: NDArray[np.float64]
    ) -> None:
        """Count answered requests with one customer each, that were scored together; stamps of shape (requests, 6)."""
        self._keep((raw, probabilities, np.ones(len(raw), np.int64), stamps))

    def record_batch(self, scored: ScoredBatch) -> None:
        """Count an answered request with several customers."""
        self._keep((scored.raw, scored.probabilities, np.array([len(scored.raw)]), np.array([scored.stamps])))

    def _keep(self, stacked: Stacked) -> None:
        if self._stacked and stacked[0].shape[1] != self._stacked[0][0].shape[1]:  # another model's
            self.flush()
        self._stacked.append(stacked)
        self._rows += len(stacked[0])
        if self._rows >= GATHERED_ROWS:
            self.flush()
        else:
            self._soon.ask()

    def flush(self) -> None:
        """Count what is gathered."""
        if self._lone:
            records = np.frombuffer(bytes(self._lone)).reshape(-1, self._features + 1 + STAMPS)
            self._lone.clear()
            raw, probabilities, stamps = np.split(records, [self._features, self._features + 1], axis=1)
            self._metrics.count_scored(raw, probabilities[:, 0], np.ones(len(raw), np.int64), stamps)
        if self._stacked:
            stacked, self._stacked, self._rows = self._stacked, [], 0
            raw, probabilities, sizes, stamps = map(np.concatenate, zip(*stacked, strict=True))
            self._metrics.count_scored(raw, probabilities, sizes, stamps)
