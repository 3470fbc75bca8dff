"""Performance before outcomes are known, on the assumption that the probabilities are calibrated.

If each customer leaves with the probability that was predicted, independently of the others, every measure has an
expectation and a variance that follow from the probabilities alone (confidence-based performance estimation). A shift
of the customers is accounted for; a change of the law by which they leave is not, because the probabilities don't
know it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.logistic import logit
from churn.measures.influence import keep_inside, weigh_top
from churn.measures.intervals import NOT_KNOWN, Z95, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.measures.sample import Sample

ASSUMPTION = (
    "The probabilities are calibrated for these customers: each leaves with the probability that was predicted, "
    "independently of the others. A change of the law by which customers leave is not seen."
)


class Expected(NamedTuple):
    """Measures to be expected; each interval has the measure of these customers in 95 of 100 cases.

    Attributes
    ----------
    share_left, log_loss, roc_auc, precision, recall, lift : Interval
        NaN if undefined.
    """

    share_left: Interval
    log_loss: Interval
    roc_auc: Interval
    precision: Interval
    recall: Interval
    lift: Interval


def expect(sample: Sample) -> Expected:
    """Return the expected measures of customers, whose labels are not read."""
    p, total = sample.probabilities, len(sample.probabilities)
    if not total:
        return Expected(*[NOT_KNOWN] * len(Expected._fields))
    clipped = keep_inside(p)
    odds = logit(clipped)
    leavers, chosen = float(p.sum()), sample.selected
    selected = int(chosen.sum())
    entropy = float(-(p * np.log(clipped) + (1 - p) * np.log1p(-clipped)).mean())
    recall = float(p @ chosen / leavers) if leavers else math.nan
    top, size = weigh_top(sample)
    lift = float(top @ p / size / (leavers / total)) if leavers else math.nan
    return Expected(
        share_left=_around(p, leavers / total, np.full(total, 1 / total), most=1),
        log_loss=_around(p, entropy, odds / total),
        roc_auc=_expect_auc(sample),
        precision=_around(p, float(p[chosen].mean()), chosen / selected, most=1) if selected else NOT_KNOWN,
        recall=_around(p, recall, (chosen - recall) / leavers, most=1) if leavers else NOT_KNOWN,
        lift=_around(p, lift, (top / size * total - lift) / leavers) if leavers else NOT_KNOWN,
    )


def _around(p: NDArray[np.float64], value: float, slopes: NDArray[np.floating], *, most: float = math.inf) -> Interval:
    """Return the interval of a measure whose derivatives by the labels are given, shape (n,)."""
    half = Z95 * math.sqrt(float(slopes**2 @ (p * (1 - p))))
    return Interval(value, max(0.0, value - half), min(most, value + half))


def _expect_auc(sample: Sample) -> Interval:
    """Return the expected area under the ROC curve: a mean over pairs, one of whom leaves and the other stays."""
    p, ranking = sample.probabilities, sample.ranking
    leaving = np.add.reduceat(p, ranking.starts)
    staying = np.add.reduceat(1 - p, ranking.starts)
    alone = float(p @ (1 - p))  # nobody is a pair
    leavers, stayers = float(leaving.sum()), float(staying.sum())
    pairs = leavers * stayers - alone
    if pairs <= 0:
        return NOT_KNOWN
    above = np.cumsum(leaving) - leaving / 2
    below = stayers - np.cumsum(staying) + staying / 2
    value = float((above @ staying - alone / 2) / pairs)
    lengths = np.diff(ranking.starts, append=len(p))
    slopes = np.repeat(below - above, lengths) / pairs - value / leavers + value / stayers
    return _around(p, value, slopes, most=1)
