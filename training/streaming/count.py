"""Compute exact metrics of all rows of a streamed table in bounded memory.

Probabilities are rounded to six decimals, as in the service, so there are a million and one distinct values. All
metrics can be computed from the number of customers of each class with each value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from churn.scorer import PROBABILITY_DECIMALS
from training.evaluate import score
from training.histograms import count_between, count_scores, find_edges
from training.trained import FullStatistics

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from training.evaluate import Scores
    from training.streaming.spread import StreamedTable
    from training.trained import FittedModel

STEPS = 10**PROBABILITY_DECIMALS


class ProbabilityCounts:
    """Counts of customers who stayed and who left for each probability.

    Attributes
    ----------
    counts : ndarray of int64, shape (2, `STEPS` + 1)
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, STEPS + 1), dtype=np.int64)

    def add(self, labels: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Add customers; probabilities are rounded.

        Parameters
        ----------
        labels, probabilities : ndarray of float64, shape (n,)
            Labels are 0 or 1.
        """
        steps = np.rint(probabilities * STEPS).astype(np.int64)
        for value in (0, 1):
            found, counts = np.unique(steps[labels == value], return_counts=True)
            self.counts[value, found] += counts

    def score(self, threshold: float) -> Scores:
        """Return the metrics of the customers."""
        values, steps = np.nonzero(self.counts)
        weights = self.counts[values, steps].astype(np.float64)
        return score(values.astype(np.float64), steps / STEPS, threshold, weights)


def count(table: StreamedTable, fitted: FittedModel, threshold: float) -> FullStatistics:
    """Score every row, and count probabilities and feature values.

    Features use the bin edges of the sample.
    """
    schema = table.sample.schema
    edges = find_edges(schema, table.sample.raw[table.rows["train"]])
    counts = {name: ProbabilityCounts() for name in table.rows}
    histograms: dict[str, Any] = {}
    with tqdm(total=sum(table.counts.values()), desc="judging", unit="row", unit_scale=True, disable=None) as bar:
        for name, raw, labels in table.shards.read():
            if len(labels):
                counts[name].add(labels, fitted.predict(raw))
            if name == "train":
                histograms = _add(histograms, count_between(schema, raw, edges))
            bar.update(len(labels))
    train = counts["train"].counts.sum(axis=0)
    seen = np.flatnonzero(train)
    return FullStatistics(
        scores={name: one.score(threshold) for name, one in counts.items()},
        histograms=histograms,
        score_histogram=count_scores(seen / STEPS, train[seen]),
    )


def _add(before: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Add the counts of the same bins."""
    for name, known in before.items():
        own = more[name]
        own["counts"] = [a + b for a, b in zip(known["counts"], own["counts"], strict=True)]
        own["missing"] += known["missing"]
    return more
