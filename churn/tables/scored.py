"""The result of scoring consecutive rows of a table, in whatever form the rows came and the scores are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.tables.encode import Encoded


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """Scores of consecutive rows of a table.

    Attributes
    ----------
    total : int
        Number of rows, including rejected ones.
    raw : ndarray of float64, shape (accepted rows, features)
    probabilities : ndarray of float64, shape (accepted rows,)
    decisions : ndarray of bool, shape (accepted rows,)
    reasons : mapping of str to int
        Number of values that could not be scored, by `name_reason`; a row may have several.
    """

    total: int
    raw: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    decisions: NDArray[np.bool_]
    reasons: Mapping[str, int]

    @property
    def accepted(self) -> int:
        """Number of rows that were scored."""
        return len(self.raw)

    @property
    def rejected(self) -> int:
        """Number of rows that could not be scored."""
        return self.total - len(self.raw)

    @property
    def leavers(self) -> int:
        """Number of rows that are predicted to leave."""
        return int(np.count_nonzero(self.decisions))

    @classmethod
    def of(
        cls,
        encoded: Encoded,
        raw: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        decisions: NDArray[np.bool_],
    ) -> ScoredRows:
        """Return the result for encoded rows and what was computed for the accepted ones.

        Parameters
        ----------
        encoded : Encoded
        raw : ndarray of float64, shape (accepted, features)
        probabilities : ndarray of float64, shape (accepted,)
        decisions : ndarray of bool, shape (accepted,)
        """
        reasons = Counter(name_reason(one.field or None, one.reason) for one in encoded.violations)
        return cls(len(encoded.raw), raw, probabilities, decisions, reasons)


def name_reason(column: str | None, reason: str) -> str:
    """Return the name of a reason in a summary; an invalid line has no column."""
    return f"a line {reason}" if column is None else f"{column} {reason}"
