"""Counts scored requests: lone customers are gathered and counted together, which costs a twentieth a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.gather import Gatherer
from service.scoring import ScoredBatch, ScoredLone

if TYPE_CHECKING:
    from service.metrics import Metrics


class Recorder:
    """Counts what was scored in the metrics; a scrape sees all of the worker that it asks.

    Parameters
    ----------
    metrics : Metrics
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lone: Gatherer[ScoredLone] = Gatherer(self._count_lone)
        self.flush = self._lone.flush
        metrics.before_exposing = self.flush

    def record(self, scored: ScoredLone | ScoredBatch) -> None:
        """Count an answered `POST /predict`."""
        if isinstance(scored, ScoredBatch):
            self._metrics.count_scored(scored.raw, scored.probabilities, np.array([scored.stamps]))
        else:
            self._lone.add(scored)

    def _count_lone(self, many: list[ScoredLone]) -> None:
        rows, probabilities, stamps = zip(*many, strict=True)
        self._metrics.count_scored(np.array(rows, dtype=np.float64), np.array(probabilities), np.array(stamps))
