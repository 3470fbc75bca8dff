"""Round the values of an explanation so that the rounded ones still add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 6
"""As many as those of a probability."""


def round_points(
    points: NDArray[np.float64], probabilities: NDArray[np.float64], base: float
) -> tuple[NDArray[np.float64], float]:
    """Round values and base to `DECIMALS`, so that base and values add up to the published probability.

    Each value is rounded; what is then left over, at most half a unit of the last decimal per feature, goes in whole
    units to the values whose rounding it undoes best. Values that are exactly 0 stay 0.

    Parameters
    ----------
    points : ndarray of float64, shape (n, features)
    probabilities : ndarray of float64, shape (n,)
        As they are published. They may differ from those of the explanation as much as engines differ.
    base : float

    Returns
    -------
    points : ndarray of float64, shape (n, features)
    base : float
    """
    unit = 10.0**DECIMALS
    scaled = points * unit
    whole = np.rint(scaled)
    start = round(base * unit)
    left = np.rint(probabilities * unit) - start - whole.sum(axis=1)
    for row in np.flatnonzero(left):
        heard = np.flatnonzero(points[row])
        if not len(heard):
            continue
        sign = np.sign(left[row])
        order = heard[np.argsort(-sign * (scaled[row] - whole[row])[heard], kind="stable")]
        times, more = divmod(int(abs(left[row])), len(order))
        whole[row, order] += sign * times
        whole[row, order[:more]] += sign
    return whole / unit, start / unit
