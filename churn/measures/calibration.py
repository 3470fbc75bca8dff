"""Calibration: slope and intercept of the logistic recalibration, and the error over bins, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.logistic import logit
from churn.measures.influence import Estimate, keep_inside
from churn.measures.intervals import NOT_KNOWN, Interval
from churn.measures.shares import CALIBRATION_BINS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.sample import Sample

STEPS = 50
"""Newton steps of a regression; it takes less than ten, unless the classes are separated."""

MANY_ROWS = 100_000
"""Customers from which on a regression begins with a part of them."""

DRAWS = 2_000
"""Drawn errors for the interval of the calibration error, each of `CALIBRATION_BINS` numbers."""


class Calibration(NamedTuple):
    """How far probabilities are from the shares of leavers.

    Attributes
    ----------
    slope : Interval
        Of the regression of the outcome on the log odds of the probability (Cox, 1958, Biometrika 45:562-565): below 1
        if probabilities are too extreme.
    intercept : Interval
        Of the same regression with a slope of 1, as in Van Calster et al. (2019, BMC Medicine 17:230): above 0 if
        more customers left than predicted.
    error : Interval
        Expected calibration error; 0 is in the interval unless the error is above `chance`.
    chance : float
        95th percentile of the error of perfectly calibrated probabilities on as many customers.
    """

    slope: Interval
    intercept: Interval
    error: Interval
    chance: float


def judge_calibration(sample: Sample, *, seed: int = 0, with_slope: bool = True) -> Calibration:
    """Return the calibration of a sample that is not empty; slope and intercept are NaN without both classes."""
    slope = intercept = NOT_KNOWN
    if sample.has_both:
        found = fit_slope(sample) if with_slope else None
        slope = NOT_KNOWN if found is None else found.interval(sample.clusters)
        shift = fit_intercept(sample)
        intercept = NOT_KNOWN if shift is None else shift.interval(sample.clusters)
    error, chance = judge_bins(sample, seed=seed)
    return Calibration(slope, intercept, error, chance)


def fit_slope(sample: Sample) -> Estimate | None:
    """Return the slope of the regression with both coefficients; None if it has no finite solution."""
    odds = logit(keep_inside(sample.probabilities))
    found = _fit(np.stack([np.ones(len(odds)), odds]), sample.labels, np.zeros(1), np.array([0.0, 1.0]))
    return None if found is None else Estimate(float(found[0][1]), found[1][1])


def fit_intercept(sample: Sample) -> Estimate | None:
    """Return the intercept of the regression with a slope of 1; None if it has no finite solution."""
    odds = logit(keep_inside(sample.probabilities))
    found = _fit(np.ones((1, len(odds))), sample.labels, odds, np.zeros(1))
    return None if found is None else Estimate(float(found[0][0]), found[1][0])


def _fit(
    design: NDArray[np.float64], labels: NDArray[np.float64], offset: NDArray[np.float64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Fit a logistic regression by Newton's method.

    Parameters
    ----------
    design : ndarray of float64, shape (coefficients, n)
        Customers in the last axis, so that each product reads memory in its order.
    labels : ndarray of float64, shape (n,)
    offset : ndarray of float64, shape (n,) or (1,)
    start : ndarray of float64, shape (coefficients,)

    Returns
    -------
    coefficients : ndarray of float64, shape (coefficients,)
    influences : ndarray of float64, shape (coefficients, n)
    """
    weights = start
    if len(labels) > MANY_ROWS:  # begin where every twentieth customer ends, which saves most steps
        few = np.ascontiguousarray(design[:, ::20])
        nearby = _fit(few, labels[::20], offset[::20], start)
        weights = start if nearby is None else nearby[0]
    for _ in range(STEPS):
        fitted = _expit(np.einsum("i,in->n", weights, design) + offset)
        # Not products of BLAS, whose threads wait for each other on a busy machine.
        spread = np.einsum("in,jn->ij", design * (fitted * (1 - fitted)), design)
        residual = labels - fitted
        try:
            step = np.linalg.solve(spread, np.einsum("in,n->i", design, residual))
        except np.linalg.LinAlgError:
            return None
        largest = float(np.abs(step).max())
        if not np.isfinite(largest):
            return None
        weights = weights + step * min(1.0, 2.0 / max(largest, 1e-300))
        if largest < 1e-9:
            influence: NDArray[np.float64] = np.linalg.inv(spread) @ (design * residual) * len(labels)
            return weights, influence
    return None


def _expit(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities from log odds, in their place."""
    np.clip(odds, -500, 500, out=odds)
    np.negative(odds, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    return np.reciprocal(odds, out=odds)


def judge_bins(sample: Sample, *, seed: int = 0) -> tuple[Interval, float]:
    """Return the expected calibration error with its interval, and what chance alone makes of it.

    The error is a sum of absolute gaps between bins, which chance only makes larger. Gaps are drawn around the
    observed ones with their own variance. The interval ends above at the 97.5th percentile and below as far from the
    value as above, which takes that off again; so it has the true error in at least 95 of 100 samples. Around no gaps
    at all, the same draws give the chance error (consistency resampling: Broecker and Smith, 2007, Weather and
    Forecasting 22:651-661); an error that is not above it has an interval from 0.
    """
    probabilities, total = sample.probabilities, len(sample.labels)
    index = np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = probabilities - sample.labels
    sums = np.bincount(index, gaps, CALIBRATION_BINS)
    counts = np.maximum(np.bincount(index, minlength=CALIBRATION_BINS), 1)
    observed = np.maximum(np.bincount(index, gaps**2, CALIBRATION_BINS) - sums**2 / counts, 0)
    by_chance = np.bincount(index, probabilities * (1 - probabilities), CALIBRATION_BINS)
    drawn = np.random.default_rng(seed).standard_normal((DRAWS, CALIBRATION_BINS))
    value = float(np.abs(sums).sum() / total)
    around = np.abs(sums + drawn * np.sqrt(observed)).sum(axis=1) / total
    high = float(np.quantile(around, 0.975))
    chance = float(np.quantile(np.abs(drawn * np.sqrt(by_chance)).sum(axis=1) / total, 0.95))
    low = max(0.0, 2 * value - high) if value > chance else 0.0
    return Interval(value, low, max(high, value)), chance
