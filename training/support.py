"""What a version keeps of its training customers, to say how far the probability of a new one can be trusted.

How rare a customer is: the distance from the tenth nearest of a sample of training customers is compared with that of
other training customers, who are as new to the sample as those who will be scored. So the share of them that is stated
is a conformal p-value (Vovk et al., 2005): at most 1 % of new customers of the same kind have a share of 0.01 or less.

How sure the network is: members that were fitted without one fold each differ by less than networks that are trained on
other customers. The delete-a-group jackknife (Quenouille, 1956; Kott, 2001) says by how much less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t as student_t

from churn.reasons.session import Session
from churn.reasons.support import clipped_logit
from churn.support import Axis, Space
from churn.trust.support import MEMBERS_FILE, NEIGHBOURS_FILE
from training.onnx_network import write_members

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    import keras
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

REFERENCE = 1000
"""Training customers that others are compared with, at most; half of them where there are fewer than twice as many."""
CALIBRATION = 1000
"""Training customers whose distances are kept, at most."""
NEIGHBOURS = 10
"""The distance from the nearest customer of this number is compared; a smaller one in a reference below 20 times it."""
SPIKE_SHARE = 0.1
"""A value held by at least this share of the customers is a state of its own, as in the networks' inputs."""
FEW_VALUES = 12
"""A quantity with at most this number of values has no such state: they are steps of one scale."""
SCORE_DECIMALS = 1
"""Decimals of the standard scores that are kept, so that the file has nobody's balance: a tenth of a standard deviation
is far less than the distance from a neighbour."""
RANGE = (0.001, 0.999)
"""Quantiles between which the scale of a quantity is computed: outliers would make all others equal."""
VARIANCE_ROWS = 10_000
"""Training customers at whom the usual variance of the members is computed, at most."""
COVERED = 0.9
"""Share of networks trained on other customers whose probability is within the range."""


def write_support(
    folder: Path,
    schema: Schema,
    raw: NDArray[np.float64],
    heard: NDArray[np.int64],
    members: tuple[keras.Model, ...],
    transform: Callable[[NDArray[np.float64]], NDArray[np.float32]],
    seed: int,
) -> dict[str, Any] | None:
    """Write the files of a version's support; return its entry of the manifest, None if it has no support.

    Parameters
    ----------
    folder : Path
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The training set.
    heard : ndarray of int64
        Features that the network hears, as columns of `raw`. Nothing is kept of the others.
    members : tuple of keras.Model
        Networks each of which was not fitted on one fold; empty if there are none.
    transform : callable
        Returns the input of the networks, shape (n, width), for a raw matrix.
    seed : int
    """
    if not len(heard) or len(raw) < 2:
        return None
    draw = np.random.default_rng(seed)
    space = Space(tuple(choose_axis(schema.features[source], source, raw[:, source]) for source in heard.tolist()))
    order = draw.permutation(len(raw))
    reference, others = order[: min(REFERENCE, len(raw) // 2)], order[min(REFERENCE, len(raw) // 2) :][:CALIBRATION]
    near = max(1, min(NEIGHBOURS, len(reference) // 20))
    placed = space.place(raw[reference])
    scores = placed[:, : len(space.score_sources)]
    np.round(scores, SCORE_DECIMALS, out=scores)
    np.save(folder / NEIGHBOURS_FILE, placed, allow_pickle=False)
    distances, usual = measure_others(space, placed, space.place(raw[others]), near)
    entry: dict[str, Any] = {
        "axes": [axis.to_dict() for axis in space.axes],
        "neighbours": near,
        "distances": distances,
        "usual": usual,
    }
    if members:
        write_members(members, folder / MEMBERS_FILE)
        entry["members"] = {
            "factor": find_factor(len(members)),
            "variance": find_variance((folder / MEMBERS_FILE).read_bytes(), transform(raw[order[:VARIANCE_ROWS]])),
        }
    return entry


def choose_axis(feature: Feature, source: int, values: NDArray[np.float64]) -> Axis:
    """Return how customers are compared in a feature.

    Parameters
    ----------
    feature : Feature
    source : int
        Its raw column.
    values : ndarray of float64, shape (n,)
        Its values in the training set.
    """
    if not feature.is_quantity:
        return Axis(source)
    known = values[~np.isnan(values)]
    distinct, counts = np.unique(known, return_counts=True)
    if not len(distinct):
        return Axis(source, scale=1.0)
    has_spike = len(distinct) > FEW_VALUES and counts.max() >= SPIKE_SHARE * len(known)
    spike = float(distinct[counts.argmax()]) if has_spike else None
    rest = known[known != spike]
    within = rest.clip(*np.quantile(rest, RANGE))
    scale = float(within.std())
    # A scale far below the values is rounding, not spread.
    return Axis(source, float(within.mean()), scale if scale > 1e-9 * abs(within).max() else 1.0, spike)


def measure_others(
    space: Space, reference: NDArray[np.float32], others: NDArray[np.float32], near: int
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Measure how far customers are from their neighbours in the reference.

    Parameters
    ----------
    space : Space
    reference : ndarray of float32, shape (m, width)
    others : ndarray of float32, shape (n, width)
    near : int
        Number of neighbours.

    Returns
    -------
    distances : list of float
        From the last neighbour, ascending.
    usual : list of float
        Mean of what each axis makes of its square.
    """
    found = [space.find_distance(reference, one, near) for one in others]
    usual = np.stack([drops for _, drops in found]).mean(axis=0, dtype=np.float64)
    return sorted(distance for distance, _ in found), usual.round(6).tolist()


def find_factor(members: int) -> float:
    """Return half the width of the range in standard deviations of so many members, on the logit scale.

    The jackknife's standard error is (K - 1) / √K times the standard deviation of K members. Two networks on separate
    sets of customers differ by √2 times it. The variance is the mean of that of K numbers and of what is usual (an
    empirical Bayes estimate, Smyth, 2004). Student's t has the K - 1 degrees of freedom of the first alone, because how
    usual the second is at this customer is not known (benchmarks/support.py).
    """
    quantile = student_t.ppf((1 + COVERED) / 2, members - 1)
    return float(quantile * np.sqrt(2 / members) * (members - 1))


def find_variance(network: bytes, matrix: NDArray[np.float32]) -> float:
    """Return the mean over customers of the variance of the members' logits.

    The arithmetic mean: stacks of trees agree exactly at many customers, which would make a geometric one next to
    nothing.

    Parameters
    ----------
    network : bytes
        The ONNX file of the members.
    matrix : ndarray of float32, shape (n, width)
    """
    logits = clipped_logit(Session(network).run(matrix).astype(np.float64))
    return float(logits.var(axis=1, ddof=1).mean())
