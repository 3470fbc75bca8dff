"""The evaluation as an entry of the manifest: what a page or a script needs to judge the model and its threshold."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from training.report.analysis import analyse

if TYPE_CHECKING:
    from training.report.data import ReportData

STEPS = 100
"""Thresholds are multiples of one part of these, and the model's own."""


def describe_evaluation(data: ReportData) -> dict[str, Any]:
    """Return the evaluation as plain data without NaN.

    Returns
    -------
    dict
        ``part`` with its numbers of ``customers`` and ``leavers``, and a ``caveat`` unless it is a test set;
        ``scores`` with 95 % intervals, without those that are undefined; the ``costs`` of a campaign; and
        ``thresholds``: how many customers are above each, and how many of these left, from which the profit follows
        for any costs.
    """
    found = analyse(data)
    part = data.judged_part()
    ordered = np.sort(part.probabilities)
    of_leavers = np.sort(part.probabilities[part.labels == 1])
    thresholds = sorted({step / STEPS for step in range(STEPS + 1)} | {data.threshold})
    return {
        "part": found.part,
        "customers": found.customers,
        "leavers": found.leavers,
        "caveat": found.caveat,
        "scores": {
            name: asdict(interval)
            for name, interval in found.measures.items()
            if all(math.isfinite(each) for each in asdict(interval).values())
        },
        "costs": asdict(data.costs),
        "thresholds": [
            {
                "threshold": threshold,
                "contacted": len(ordered) - int(np.searchsorted(ordered, threshold, side="right")),
                "leavers": len(of_leavers) - int(np.searchsorted(of_leavers, threshold, side="right")),
            }
            for threshold in thresholds
        ],
    }
