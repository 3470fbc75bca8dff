"""Counts of the rows of a table: of a request, a job, a database query, a Spark table or a training table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.drift import population_stability_index
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn.drift import Drift
    from churn.tables.scored import ScoredRows


@dataclass(slots=True)
class RowCounts:
    """Counts of accepted and rejected rows.

    Attributes
    ----------
    rows : int
        Number of all rows.
    accepted : int
        Number of rows that could be used.
    leavers : int
        Number of accepted rows that are predicted to leave.
    reasons : Counter of str
        Number of values that could not be used, by `churn.tables.scored.name_reason`; a row may have several.
    """

    rows: int = 0
    accepted: int = 0
    leavers: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Number of rows that could not be used."""
        return self.rows - self.accepted

    def add(self, block: ScoredRows) -> None:
        """Add the rows of a block."""
        self.rows += block.total
        self.accepted += block.accepted
        self.leavers += block.leavers
        self.reasons.update(block.reasons)

    def check_written(self, name: str, places: str, found: tuple[int, int]) -> None:
        """Verify that every row is in exactly one of two outputs.

        Parameters
        ----------
        name : str
            Name of the output, for messages.
        places : str
            What the outputs are, in the plural.
        found : (int, int)
            Number of scored and of rejected rows in the outputs.

        Raises
        ------
        TableError
            If these are not the numbers that were counted.
        """
        if found != (self.accepted, self.rejected):
            raise TableError(
                f"{name}: {self.accepted:,} rows were scored and {self.rejected:,} rejected, but the {places} have "
                f"{found[0]:,} and {found[1]:,} rows; nothing is published"
            )

    def summarize(self) -> dict[str, Any]:
        """Return the counts for a summary, the most frequent reason first."""
        return {
            "rows": self.rows,
            "scored": self.accepted,
            "rejected": self.rejected,
            "leavers": self.leavers,
            "reasons": dict(self.reasons.most_common()),
        }


class Tally(RowCounts):
    """Counts of the rows of a job, saved with its progress, with the histograms that measure drift.

    Parameters
    ----------
    drift : Drift
        Bins of the model's training data.
    """

    def __init__(self, drift: Drift) -> None:
        super().__init__()
        self._drift = drift
        self._features = [np.zeros(len(bins.labels), dtype=np.int64) for bins in self._drift.features]
        self._scores = np.zeros(len(self._drift.score.labels), dtype=np.int64)

    def add(self, block: ScoredRows) -> None:
        """Add the rows of a block."""
        super().add(block)
        for total, counts in zip(self._features, self._drift.count(block.raw), strict=True):
            total += counts
        self._scores += self._drift.count_scores(block.probabilities)

    def to_state(self) -> dict[str, Any]:
        """Return the counts as plain data for `restore`."""
        return {
            "rows": self.rows,
            "scored": self.accepted,
            "leavers": self.leavers,
            "reasons": dict(self.reasons),
            "features": [counts.tolist() for counts in self._features],
            "scores": self._scores.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the counts to those that `to_state` of another tally of the same model returned."""
        self.rows, self.accepted, self.leavers = state["rows"], state["scored"], state["leavers"]
        self.reasons = Counter(state["reasons"])
        self._features = [np.array(counts, dtype=np.int64) for counts in state["features"]]
        self._scores = np.array(state["scores"], dtype=np.int64)

    def summarize(self) -> dict[str, Any]:
        """Return counts, reasons, distribution of the scores, and drift compared with training."""
        drift = {
            bins.name: _finite(population_stability_index(bins.counts, counts))
            for bins, counts in zip(self._drift.features, self._features, strict=True)
        }
        return {
            **super().summarize(),
            "scores": dict(zip(self._drift.score.labels, self._scores.tolist(), strict=True)),
            "drift": drift | {"score": _finite(population_stability_index(self._drift.score.counts, self._scores))},
        }


def _finite(number: float) -> float | None:
    return round(number, 6) if np.isfinite(number) else None
