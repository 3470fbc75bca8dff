"""Counts of a job: saved with its progress and reported in its summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.drift import Drift, population_stability_index
from churn.errors import ChurnError, TooManyRejectsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.chunk import Chunk
    from churn.bundle import Manifest


@dataclass(frozen=True, slots=True)
class RejectLimit:
    """Maximum number or percentage of rejected rows before a job fails.

    Attributes
    ----------
    number : float
        Number of rows, or percentage of all rows.
    is_share : bool
    """

    number: float
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> RejectLimit:
        """Parse a number of rows such as ``100``, or a percentage such as ``2.5%``.

        Raises
        ------
        ChurnError
            If the text is neither.
        """
        is_share = text.strip().endswith("%")
        try:
            number = float(text.strip().removesuffix("%")) if is_share else int(text)
        except ValueError:
            number = -1
        if not 0 <= number < (100.0001 if is_share else float("inf")):
            raise ChurnError(
                f"--max-rejects: {text!r} is not a limit; allowed: a number of rows such as 100, or 0% to 100%"
            )
        return cls(number, is_share)

    def check(self, rejected: int, rows: int) -> None:
        """Raise an error if too many of `rows` rows are rejected.

        Raises
        ------
        TooManyRejectsError
        """
        if rejected > (rows * self.number / 100 if self.is_share else self.number):
            allowed = f"{self.number:g}%" if self.is_share else f"{self.number:,}"
            raise TooManyRejectsError(f"{rejected:,} of {rows:,} rows could not be scored; allowed: {allowed}")


class Tally:
    """Counts the scored and rejected rows of a job.

    Parameters
    ----------
    manifest : Manifest
        Manifest of the model, whose histograms define the bins for drift.

    Attributes
    ----------
    rows, scored, leavers : int
    reasons : Counter of str
        Number of values that could not be scored, by "column reason"; a row may have several.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._drift = Drift(manifest)
        self.rows = self.scored = self.leavers = 0
        self.reasons: Counter[str] = Counter()
        self._features = [np.zeros(len(bins.labels), dtype=np.int64) for bins in self._drift.features]
        self._scores = np.zeros(len(self._drift.score.labels), dtype=np.int64)

    @property
    def rejected(self) -> int:
        """Number of rows that could not be scored."""
        return self.rows - self.scored

    def add(self, chunk: Chunk) -> None:
        """Add the counts of a chunk."""
        self.rows += chunk.rows
        self.scored += len(chunk.scores)
        self.leavers += chunk.leavers
        columns, reasons = (chunk.rejects.column(name).to_pylist() for name in ("column", "reason"))
        self.reasons.update(map(name_reason, columns, reasons))
        for total, counts in zip(self._features, self._drift.count(chunk.raw), strict=True):
            total += counts
        self._scores += self._drift.count_scores(chunk.probabilities)

    def to_state(self) -> dict[str, Any]:
        """Return the counts as plain data for `restore`."""
        return {
            "rows": self.rows,
            "scored": self.scored,
            "leavers": self.leavers,
            "reasons": dict(self.reasons),
            "features": [counts.tolist() for counts in self._features],
            "scores": self._scores.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the counts to those that `to_state` of another tally of the same model returned."""
        self.rows, self.scored, self.leavers = state["rows"], state["scored"], state["leavers"]
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
            "rows": self.rows,
            "scored": self.scored,
            "rejected": self.rejected,
            "leavers": self.leavers,
            "reasons": dict(self.reasons.most_common()),
            "scores": dict(zip(self._drift.score.labels, self._scores.tolist(), strict=True)),
            "drift": drift | {"score": _finite(population_stability_index(self._drift.score.counts, self._scores))},
        }


def name_reason(column: str | None, reason: str) -> str:
    """Return the name of a reason in the summary; an invalid line has no column."""
    return f"a line {reason}" if column is None else f"{column} {reason}"


def _finite(number: float) -> float | None:
    return round(number, 6) if np.isfinite(number) else None
