"""Measures with the influence of each customer, from which follow intervals without resampling.

The influence of a customer is the derivative of the measure by the customer's weight, times the number of customers.
The variance of the measure is the sum of the squared influences divided by the squared number (Hampel, 1974, JASA
69:383-393); if somebody is there several times, the influences of a person are added first. For the area under the
ROC curve this is the variance of DeLong, DeLong and Clarke-Pearson (1988, Biometrics 44:837-845). The difference of
two measures on the same customers has the difference of the influences, so that comparisons are paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.logistic import expit, logit
from churn.measures.intervals import NOT_KNOWN, Z95, Interval
from churn.measures.shares import LIFT_SHARE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.sample import Sample

SMALLEST = 5e-7
"""Probabilities have six decimals: 0 and 1 are taken as half of the last one away from it."""

NEIGHBOURS = 200
"""Customers on each side of the cut of the lift, by whom the share of leavers there is estimated."""


def keep_inside(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities, shape (n,), that are not 0 or 1; see `SMALLEST`."""
    return np.clip(probabilities, SMALLEST, 1 - SMALLEST)


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A measure.

    Attributes
    ----------
    value : float
    influence : ndarray of float64, shape (n,)
    """

    value: float
    influence: NDArray[np.float64]

    def minus(self, other: Estimate) -> Estimate:
        """Return the difference from a measure of the same customers in the same order."""
        return Estimate(self.value - other.value, self.influence - other.influence)

    def error(self, clusters: NDArray[np.int64] | None = None) -> float:
        """Return the standard error.

        Parameters
        ----------
        clusters : ndarray of int64, shape (n,), optional
            Equal numbers are the same person; see `number_persons`.
        """
        sums: NDArray[np.float64] = self.influence
        if clusters is not None:
            sums = np.bincount(clusters, weights=sums).astype(np.float64)
        # Not a product of BLAS, whose threads wait for each other on a busy machine.
        return math.sqrt(float(np.einsum("i,i->", sums, sums))) / max(1, len(self.influence))

    def interval(self, clusters: NDArray[np.int64] | None = None) -> Interval:
        """Return the 95 % interval of the normal distribution."""
        half = Z95 * self.error(clusters)
        return Interval(self.value, self.value - half, self.value + half)

    def share_interval(self, clusters: NDArray[np.int64] | None = None) -> Interval:
        """Return the 95 % interval of a value between 0 and 1, which is normal on the scale of log odds."""
        value = self.value
        if not 0 < value < 1:
            return Interval(value, math.nan, math.nan)
        centre, half = logit(value), Z95 * self.error(clusters) / (value * (1 - value))
        return Interval(value, expit(centre - half), expit(centre + half))

    def ratio_interval(self, clusters: NDArray[np.int64] | None = None) -> Interval:
        """Return the 95 % interval of a positive value, which is normal on the scale of logarithms."""
        if not self.value > 0:
            return Interval(self.value, math.nan, math.nan)
        factor = math.exp(Z95 * self.error(clusters) / self.value)
        return Interval(self.value, self.value / factor, self.value * factor)


def estimate_log_loss(sample: Sample) -> Estimate:
    """Return the log loss in nats."""
    right = np.where(sample.labels == 1, sample.probabilities, 1 - sample.probabilities)
    losses = -np.log(keep_inside(right))
    value = float(losses.mean())
    return Estimate(value, losses - value)


def estimate_auc(sample: Sample) -> Estimate | None:
    """Return the area under the ROC curve, ties counting half; None without both classes."""
    if not sample.has_both:
        return None
    ranking = sample.ranking
    left, stayed = ranking.counts(np.ones(len(sample.labels)))
    leavers, stayers = left.sum(), stayed.sum()
    lengths = np.diff(ranking.starts, append=len(sample.labels))
    below = np.repeat((stayers - np.cumsum(stayed) + stayed / 2) / stayers, lengths)
    above = np.repeat((np.cumsum(left) - left / 2) / leavers, lengths)
    value = float(above @ (1 - sample.labels) / stayers)
    share = leavers / len(sample.labels)
    influence = np.where(sample.labels == 1, (below - value) / share, (above - value) / (1 - share))
    return Estimate(value, influence)


def estimate_precision(sample: Sample) -> Estimate | None:
    """Return the share of leavers among the selected; None if nobody is selected."""
    share = sample.selected.mean() if len(sample.selected) else 0.0
    if not share:
        return None
    value = float(sample.labels[sample.selected].mean())
    return Estimate(value, sample.selected * (sample.labels - value) / share)


def estimate_recall(sample: Sample) -> Estimate | None:
    """Return the share of the selected among the leavers; None if nobody left."""
    share = sample.labels.mean() if len(sample.labels) else 0.0
    if not share:
        return None
    value = float(sample.selected[sample.labels == 1].mean())
    return Estimate(value, sample.labels * (sample.selected - value) / share)


def weigh_top(sample: Sample, share: float = LIFT_SHARE) -> tuple[NDArray[np.float64], float]:
    """Return the weight of each customer among those ranked highest, shape (n,), and the sum of the weights.

    Customers with the same probability share what is left of the top.
    """
    ranking = sample.ranking
    total = len(sample.labels)
    size = max(1.0, float(np.rint(share * total)))
    lengths = np.diff(ranking.starts, append=total)
    return np.repeat(np.clip(size - ranking.starts, 0, lengths) / lengths, lengths), size


def estimate_lift(sample: Sample, share: float = LIFT_SHARE) -> Estimate | None:
    """Return the share of leavers among those ranked highest, relative to that among all; None if nobody left."""
    labels, total = sample.labels, len(sample.labels)
    rate = float(labels.mean()) if total else 0.0
    if not rate:
        return None
    top, size = weigh_top(sample, share)
    share, found = size / total, float(top @ labels / size)
    # Whoever moves the cut swaps customers there, who leave at the rate of their neighbours.
    cut = int(size)
    near = float(labels[max(0, cut - NEIGHBOURS) : cut + NEIGHBOURS].mean())
    of_top = top * (labels - near) / share - (found - near)
    return Estimate(found / rate, of_top / rate - found / rate**2 * (labels - rate))


def as_interval(estimate: Estimate | None, kind: str, clusters: NDArray[np.int64] | None = None) -> Interval:
    """Return the interval of an estimate on the scale of its kind: ``plain``, ``share`` or ``ratio``."""
    if estimate is None:
        return NOT_KNOWN
    scale = {"plain": Estimate.interval, "share": Estimate.share_interval, "ratio": Estimate.ratio_interval}
    return scale[kind](estimate, clusters)
