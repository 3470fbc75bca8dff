"""Confidence intervals: Wilson for shares, bootstrap for metrics, and the calibration error due to chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.measures.ranking import Ranking
from churn.measures.shares import calibration_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""

RESAMPLES = 1000
MAX_RESAMPLED = 10_000
"""Maximum number of customers resampled; larger parts are subsampled."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % confidence interval; NaN if undefined."""

    value: float
    low: float
    high: float


NOT_KNOWN = Interval(math.nan, math.nan, math.nan)


def wilson(successes: float, total: float) -> Interval:
    """Return a share with its 95 % score interval (Wilson, 1927, JASA 22:209-212)."""
    if total <= 0:
        return NOT_KNOWN
    share = successes / total
    centre = (share + Z95**2 / (2 * total)) / (1 + Z95**2 / total)
    half = Z95 / (1 + Z95**2 / total) * math.sqrt(share * (1 - share) / total + Z95**2 / (4 * total**2))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def bootstrap(
    labels: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    measure: Callable[[Ranking, NDArray[np.float64]], NDArray[np.float64]],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Return the 95 % percentile bootstrap interval of each measure.

    With more than `MAX_RESAMPLED` customers, a random subset is resampled and the deviations are scaled by the square
    root of the ratio of the sizes, as in the m out of n bootstrap (Bickel, Goetze and van Zwet, 1997, Statistica
    Sinica 7:1-31).

    Parameters
    ----------
    labels, probabilities : ndarray of float64, shape (n,)
    measure : callable
        Maps a ranking of customers and their weights to one or several numbers; NaN if undefined.
    seed : int
    resamples : int

    Returns
    -------
    list of Interval
        In the order of the measures.
    """
    rng = np.random.default_rng(seed)
    ranking = Ranking.of(labels, probabilities)
    values = measure(ranking, np.ones(len(labels)))
    centre, shrink = values, 1.0
    if len(labels) > MAX_RESAMPLED:
        rows = rng.choice(len(labels), MAX_RESAMPLED, replace=False)
        shrink = math.sqrt(MAX_RESAMPLED / len(labels))
        ranking = Ranking.of(labels[rows], probabilities[rows])
        centre = measure(ranking, np.ones(MAX_RESAMPLED))
    size = len(ranking.labels)
    drawn = np.array(
        [
            measure(ranking, np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float64))
            for _ in range(resamples)
        ]
    )
    return [
        _percentiles(float(value), drawn[:, column] - centre[column], shrink) for column, value in enumerate(values)
    ]


def _percentiles(value: float, deviations: NDArray[np.float64], shrink: float) -> Interval:
    known = deviations[~np.isnan(deviations)]
    if math.isnan(value) or len(known) == 0:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [0.025, 0.975]) * shrink
    return Interval(value, value + float(low), value + float(high))


def chance_calibration_error(probabilities: NDArray[np.float64], *, seed: int, draws: int = 1000) -> float:
    """Return the 95th percentile of the calibration error of a perfectly calibrated model.

    The error is never negative and is larger with fewer customers, so an interval around it is not informative.
    Instead, labels are drawn from the probabilities themselves (consistency resampling: Broecker and Smith, 2007,
    Weather and Forecasting 22:651-661).

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n,)
    seed : int
    draws : int
    """
    rng = np.random.default_rng(seed)
    shrink = 1.0
    if len(probabilities) > MAX_RESAMPLED:
        shrink = math.sqrt(MAX_RESAMPLED / len(probabilities))
        probabilities = rng.choice(probabilities, MAX_RESAMPLED, replace=False)
    errors = [
        calibration_error((rng.random(len(probabilities)) < probabilities).astype(np.float64), probabilities)
        for _ in range(draws)
    ]
    return float(np.quantile(errors, 0.95)) * shrink
