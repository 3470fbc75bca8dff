"""Detection of numeric codes, such as ZIP codes or branches, whose order has no meaning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from training.levels import LEVEL_ROWS, SIGNIFICANCE, test_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = frozenset(
    {
        "zip", "zipcode", "postal", "postcode", "plz", "cap", "code", "codes", "codigo", "cod", "branch", "sucursal",
        "area", "region", "city", "ciudad", "district", "county", "province", "state", "country", "agency", "office",
        "store", "sector", "segment", "cluster", "category", "type", "channel", "product",
    }
)  # fmt: skip
"""Words at the end of column names that indicate a code: not CityTier or BranchCount, which are quantities."""

_TRAILING = frozenset({"id", "no", "nr", "num", "number", "key", "name"})

LEAST_DIGITS = 3
LEAST_VALUES = 3

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def find_signs(name: str, numbers: NDArray[np.float64], labels: NDArray[np.float64]) -> list[str]:
    """Return the indications that a numeric column is a code, one clause each; empty if there are none.

    Parameters
    ----------
    name : str
        Name of the column.
    numbers : ndarray of float64, shape (n,)
        NaN for missing cells.
    labels : ndarray of float64, shape (n,)
        0, 1, or NaN where the label is missing.
    """
    present = numbers[~np.isnan(numbers)]
    values = np.unique(present)
    if len(values) < LEAST_VALUES or values[0] < 0 or (values != np.floor(values)).any():
        return []
    words = [word.lower() for word in _WORD.findall(name) if word.lower() not in _TRAILING and not word.isdigit()]
    is_named = bool(words) and (words[-1] in NAMES or words[-1].endswith("code"))
    digits = {len(str(int(value))) for value in (values[0], values[-1])}
    has_length = len(digits) == 1 and min(digits) >= LEAST_DIGITS
    lacks_order = _lacks_order(numbers, labels)
    if not is_named and not (has_length and lacks_order):
        return []
    signs = {
        "its name": is_named,
        f"every value has {min(digits)} digits": has_length,
        "the share of leavers differs between its values, but in no order": lacks_order,
    }
    return [sign for sign, holds in signs.items() if holds]


def _lacks_order(numbers: NDArray[np.float64], labels: NDArray[np.float64]) -> bool:
    """Return whether the share of leavers differs between values without a trend (Cochran-Armitage test)."""
    known = ~np.isnan(numbers) & ~np.isnan(labels)
    numbers, left = numbers[known], labels[known]
    values, codes, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(values) < LEAST_VALUES or not 0 < left.mean() < 1:
        return False
    if test_difference(np.where(counts >= LEVEL_ROWS, np.arange(len(values)), -1)[codes], left) >= SIGNIFICANCE:
        return False
    trend = len(left) * np.corrcoef(numbers, left)[0, 1] ** 2
    return bool(chi2.sf(trend, 1) >= SIGNIFICANCE)
