"""Customers made up near real ones: where a student is shown what its teacher says (Bucila et al., 2006)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SWAP_SHARES = (0.0, 0.15, 0.5)
"""Shares of the features that a made-up customer has from others."""
JITTER_SHARE = 0.7
"""Share of the made-up customers whose quantities are moved."""
JITTER = 0.03
"""Standard deviation of the move, as a share of all rows in the order of the quantity."""


def make_up_customers(
    matrix: NDArray[np.float32],
    groups: list[NDArray[np.int64]],
    quantities: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Give real customers some features of others, and move their quantities to values of neighbours.

    Only values that occur are used: whole numbers stay whole, and no customer is beyond the ends of a column.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    groups : list of ndarray of int64
        Columns of each feature; they are swapped together.
    quantities : ndarray of int64
        Columns that may be moved.
    count : int
        Customers to make up.
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (count, width)
    """
    rows = len(matrix)
    made = matrix[generator.integers(0, rows, count)]
    others = generator.integers(0, rows, count)
    share = generator.choice(SWAP_SHARES, count)
    for columns in groups:
        swapped = np.flatnonzero(generator.random(count) < share)
        made[swapped[:, None], columns] = matrix[others[swapped][:, None], columns]
    moved = np.flatnonzero(generator.random(count) < JITTER_SHARE)
    for column in quantities:
        ordered = np.sort(matrix[:, column])
        first, last = (np.searchsorted(ordered, made[moved, column], side) for side in ("left", "right"))
        # Somewhere among the rows of the same value, so that a value that many share is seldom left.
        place = (
            first + generator.random(len(moved)) * (last - first) + JITTER * rows * generator.normal(size=len(moved))
        )
        made[moved, column] = ordered[place.astype(np.int64).clip(0, rows - 1)]
    return made
