"""Measures of judged customers, and what was to be expected of them, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from churn.measures.calibration import judge_calibration
from churn.measures.expected import expect
from churn.measures.influence import (
    as_interval,
    estimate_auc,
    estimate_lift,
    estimate_log_loss,
    estimate_precision,
    estimate_recall,
)
from churn.measures.intervals import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn.measures.sample import Sample

Measures = dict[str, Any]
"""By name: counts, and numbers with ``value``, ``low`` and ``high``, which are None if undefined."""

SEED = 0
"""Of the draws for the interval of the calibration error."""


def measure(sample: Sample, *, is_brief: bool = False) -> Measures:
    """Return the measures of customers; if `is_brief`, those of a group.

    Parameters
    ----------
    sample : Sample
    is_brief : bool

    Returns
    -------
    dict
        ``customers``, ``leavers``, ``selected`` (predicted to leave), ``mean_probability``, and with 95 % intervals
        ``share_left``, ``roc_auc``, ``log_loss``, ``precision``, ``recall``, ``lift``, ``calibration_slope``,
        ``calibration_intercept`` and ``calibration_error``, with ``chance_calibration_error``. A group lacks ``lift``
        and the slope.
    """
    customers, who = len(sample.labels), sample.clusters
    counts: Measures = {
        "customers": customers,
        "leavers": int(sample.labels.sum()),
        "selected": int(sample.selected.sum()),
    }
    if not customers:
        return counts
    found = {
        "share_left": wilson(counts["leavers"], customers),
        "roc_auc": as_interval(estimate_auc(sample), "share", who),
        "log_loss": estimate_log_loss(sample).interval(who),
        "precision": _share(sample, as_interval(estimate_precision(sample), "share", who), "precision"),
        "recall": _share(sample, as_interval(estimate_recall(sample), "share", who), "recall"),
    }
    calibration = judge_calibration(sample, seed=SEED, with_slope=not is_brief)
    if not is_brief:
        found["lift"] = as_interval(estimate_lift(sample), "ratio", who)
        found["calibration_slope"] = calibration.slope
    found["calibration_intercept"] = calibration.intercept
    found["calibration_error"] = calibration.error
    return (
        counts
        | {"mean_probability": float(sample.probabilities.mean())}
        | {"chance_calibration_error": calibration.chance}
        | {name: describe(interval) for name, interval in found.items()}
    )


def expect_measures(sample: Sample) -> Measures:
    """Return what is to be expected of customers if the probabilities are calibrated, with intervals of what comes."""
    counts: Measures = {"customers": len(sample.probabilities), "selected": int(sample.selected.sum())}
    return counts | {name: describe(interval) for name, interval in expect(sample)._asdict().items()}


def _share(sample: Sample, interval: Interval, name: str) -> Interval:
    """Return Wilson's interval instead of one that is undefined because the share is 0 or 1."""
    if interval.value not in (0.0, 1.0):
        return interval
    right = float((sample.labels * sample.selected).sum())
    return wilson(right, float(sample.selected.sum() if name == "precision" else sample.labels.sum()))


def describe(interval: Interval) -> dict[str, float | None]:
    """Return an interval as plain data, with None for NaN."""
    return {name: None if math.isnan(value) else value for name, value in asdict(interval).items()}


def read_interval(measures: Mapping[str, Any], name: str) -> Interval:
    """Return a number of `measure` with its interval; NaN if it is undefined or absent."""
    found = measures.get(name) or {}
    return Interval(*(math.nan if found.get(key) is None else float(found[key]) for key in ("value", "low", "high")))
