"""Statistics of the columns over all rows, computed batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.names import normalize
from churn.tables.encode import read_numbers, simplify
from training.infer import describe_numbers
from training.levels import MANY_LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.numerals import Decimal


@dataclass(slots=True)
class ColumnStatistics:
    """Statistics of one column.

    Attributes
    ----------
    gaps : bool
        Whether any cell is missing.
    low, high : float
        Minimum and maximum of the numbers; infinity and -infinity if there are none.
    whole : bool
        Whether all numbers are integers.
    words : set of str or None
        Distinct strings; None if there are more than `MANY_LEVELS`.
    as_text : bool
        Whether numbers are converted to strings as well, because the column is a category.
    """

    gaps: bool = False
    low: float = np.inf
    high: float = -np.inf
    whole: bool = True
    words: set[str] | None = field(default_factory=set)
    as_text: bool = False

    def see(self, column: pa.Array, decimal: Decimal = ".") -> None:
        """Add cells; `decimal` is the decimal separator of their numbers."""
        simple = simplify(column, as_text=self.as_text)
        self.gaps |= bool(compute.any(simple.is_null(nan_is_null=True)).as_py())
        simple = simple.drop_null()
        self._see_numbers(read_numbers(simple, "," if decimal == "," else "."))
        if not pa.types.is_string(simple.type):
            return
        if self.words is not None:
            # "?" represents a missing value that is not allowed: it is no level, and its rows are faults.
            self.words.update(normalize(word) for word in simple.unique().to_pylist() if word != "?")
            if len(self.words) > MANY_LEVELS:
                self.words = None

    def _see_numbers(self, numbers: NDArray[np.float64]) -> None:
        numbers = numbers[np.isfinite(numbers)]
        if len(numbers):
            self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))
            self.whole &= bool((numbers == np.floor(numbers)).all())

    def counts_up(self, rows: int) -> bool:
        """Return whether the column may have each integer of a range exactly once."""
        return self.whole and not self.gaps and self.high - self.low + 1 == rows

    def widen(self, feature: Feature) -> Feature:
        """Return the feature inferred from a sample, corrected by the statistics of all rows."""
        feature = replace(feature, nullable=feature.nullable or self.gaps)
        if feature.kind == "date" or feature.open:
            return feature
        if feature.kind == "category":
            if self.words is None:
                return replace(feature, open=True)
            return replace(feature, categories=tuple(sorted(self.words)))
        if self.low > self.high or (feature.kind == "flag" and self.whole and self.low >= 0 and self.high <= 1):
            return feature
        ends = np.array([self.low, self.high] if self.whole else [self.low, self.low + 0.5, self.high])
        described = describe_numbers(feature.name, ends, nullable=feature.nullable)
        return replace(described, example=feature.example)
