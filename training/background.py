"""Choose the background: the training customers that predictions are explained against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray  # noqa: TC002

CUSTOMERS = 100


def draw_background(
    raw: NDArray[np.float64], probabilities: NDArray[np.float64], seed: int, customers: int = CUSTOMERS
) -> NDArray[np.float64]:
    """Draw customers whose probabilities are spread as those of all, one from each stratum of equal size.

    Parameters
    ----------
    raw : ndarray of float64, shape (n, features)
        The training set.
    probabilities : ndarray of float64, shape (n,)
        Its customers' probabilities, by which they are stratified.
    seed : int
    customers : int

    Returns
    -------
    ndarray of float64, shape (min(customers, n), features)
    """
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(raw))
    ranked = shuffled[np.argsort(probabilities[shuffled], kind="stable")]
    strata = np.array_split(ranked, min(customers, len(raw)))
    return raw[[draw.choice(stratum) for stratum in strata]]
