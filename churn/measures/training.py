"""Intervals of a model's training metrics, from what its manifest has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from churn.measures.intervals import NOT_KNOWN, Z95, Interval

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = ("test", "validation")
"""Parts of the training table by which later performance is measured, in order of preference."""


class Trained(NamedTuple):
    """Metrics of customers that the model was not trained on.

    Attributes
    ----------
    part : str
        ``test``, or ``validation`` if there is no test set.
    customers : int
    roc_auc, log_loss : Interval
    """

    part: str
    customers: int
    roc_auc: Interval
    log_loss: Interval


def read_trained(content: Mapping[str, Any]) -> Trained | None:
    """Return the metrics of a manifest's content; None if it has none of customers that were held out."""
    for part in PARTS:
        found = content.get("metrics", {}).get(part) or {}
        if {"customers", "roc_auc", "log_loss", "confusion_matrix"} <= found.keys():
            stayed, left = map(sum, found["confusion_matrix"])
            histogram = content.get("score_histogram") or {}
            return Trained(
                part,
                int(found["customers"]),
                find_auc_interval(float(found["roc_auc"]), left, stayed),
                find_loss_interval(float(found["log_loss"]), left + stayed, histogram),
            )
    return None


def find_auc_interval(auc: float, left: int, stayed: int) -> Interval:
    """Return the 95 % interval of an area under the ROC curve (Hanley and McNeil, 1982, Radiology 143:29-36).

    Parameters
    ----------
    auc : float
    left, stayed : int
        Numbers of customers.
    """
    if not (left and stayed):
        return NOT_KNOWN
    both_left, both_stayed = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (left - 1) * (both_left - auc**2) + (stayed - 1) * (both_stayed - auc**2)
    half = Z95 * math.sqrt(variance / (left * stayed))
    return Interval(auc, max(0.0, auc - half), min(1.0, auc + half))


def find_loss_interval(loss: float, customers: int, histogram: Mapping[str, Any]) -> Interval:
    """Return the 95 % interval of a log loss of that many customers.

    The spread of the losses is that of calibrated probabilities with this histogram of scores, taken at the middle of
    each bin.
    """
    edges, counts = histogram.get("edges"), histogram.get("counts")
    if not (customers and edges and counts and len(counts) == len(edges) + 1 and sum(counts)):
        return NOT_KNOWN
    bounds = np.array([0.0, *edges, 1.0])
    middles = (bounds[:-1] + bounds[1:]) / 2
    shares = np.array(counts) / sum(counts)
    mean = -(middles * np.log(middles) + (1 - middles) * np.log1p(-middles)) @ shares
    square = (middles * np.log(middles) ** 2 + (1 - middles) * np.log1p(-middles) ** 2) @ shares
    half = Z95 * math.sqrt(max(0.0, float(square - mean**2)) / customers)
    return Interval(loss, max(0.0, loss - half), loss + half)
