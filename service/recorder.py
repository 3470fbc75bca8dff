"""Counts scored requests: what is scored within a moment is counted together, at a fraction of the price."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from service.scoring import STAMPS
from service.soon import Soon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.metrics import Metrics
    from service.scoring import ScoredBatch, Stamps

GATHERED_BYTES = 64 * 1024
"""Lone customers, as bytes, that are counted together at most: few enough to stay in the processor's cache."""

GATHERED_ROWS = 4096
"""Customers of batches that are counted together at most."""


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
        self._batches: list[ScoredBatch] = []
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

    def record_batch(self, scored: ScoredBatch) -> None:
        """Count an answered request with several customers."""
        if self._batches and scored.raw.shape[1] != self._batches[0].raw.shape[1]:  # another model's
            self.flush()
        self._batches.append(scored)
        self._rows += len(scored.raw)
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
        if self._batches:
            batches, self._batches, self._rows = self._batches, [], 0
            self._metrics.count_scored(
                np.concatenate([one.raw for one in batches]),
                np.concatenate([one.probabilities for one in batches]),
                np.array([len(one.raw) for one in batches]),
                np.array([one.stamps for one in batches]),
            )
