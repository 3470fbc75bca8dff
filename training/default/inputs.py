"""Inputs of each kind of network, as linear functions of bins.

A network is fitted on its own inputs: bins, normal scores, or standard scores with indicators. All of them are linear
in piecewise-linear bins, so the published network computes bins once and merges the rest into its first kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from training.default.bins import Bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FEW_VALUES = 12
"""A quantity with at most this many distinct values gets an indicator for each."""
INDICATORS_ONLY = 6
"""A quantity with at most this many distinct values gets only indicators."""
SPIKE_SHARE = 0.1
"""A value held by at least this share of the rows gets an indicator, and the scale ignores it."""
RANGE = (0.001, 0.999)
"""Quantiles between which a standard score is linear; beyond them it is constant."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A linear map from the columns of `Bins.encode` to the inputs of a network.

    Attributes
    ----------
    bins : Bins
    readout : scipy.sparse.csr_array of float64, shape (bins.width, inputs)
    start : ndarray of float64, shape (inputs,)
        Inputs of a row whose bins are all 0.
    noisy : ndarray of float32, shape (inputs,)
        1 for inputs that get noise during training, else 0.
    fan_in : int
        Inputs that differ from 0 in a row, about.
    """

    bins: Bins
    readout: sparse.csr_array
    start: NDArray[np.float64]
    noisy: Floats
    fan_in: int

    def read(self, encoded: Floats) -> Floats:
        """Return the inputs, float32 of shape (n, inputs), for the result of `Bins.encode`."""
        return np.asarray(encoded @ self.readout.astype(np.float32) + self.start.astype(np.float32))

    def merge(self, kernel: Floats, bias: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the kernel on bins, shape (bins.width, units), and the bias that compute the same as a first layer."""
        return np.asarray(self.readout @ kernel.astype(np.float64)), bias + self.start @ kernel


def read_bins(bins: Bins) -> Inputs:
    """Return inputs that are the bins and other columns, then the normal score of each quantity."""
    scores = _score(bins)
    count = len(bins.columns)
    return Inputs(
        bins,
        sparse.hstack([sparse.eye_array(bins.width), scores], format="csr"),
        np.concatenate([np.zeros(bins.width), bins.start]),
        np.repeat(np.array([0, 1], np.float32), [bins.width, count]),
        count + len(bins.others),
    )


def read_scores(bins: Bins) -> Inputs:
    """Return inputs that are the normal score of each quantity, then the other columns."""
    others = len(bins.others)
    rest = sparse.eye_array(bins.width, format="csr")[:, bins.lower.size :]
    return Inputs(
        bins,
        sparse.hstack([_score(bins), rest], format="csr"),
        np.concatenate([bins.start.astype(np.float64), np.zeros(others)]),
        np.repeat(np.array([1, 0], np.float32), [len(bins.columns), others]),
        len(bins.columns) + others,
    )


def _score(bins: Bins) -> sparse.csr_array:
    quantities, cells = bins.lower.shape
    ends = cells * np.arange(quantities + 1)
    filled = (bins.rises.astype(np.float64).ravel(), np.arange(bins.rises.size), ends)
    rises = sparse.csc_array(filled, shape=(bins.rises.size, quantities))
    return sparse.vstack([rises, sparse.csc_array((len(bins.others), quantities))], format="csr")


def standardise(matrix: Floats, quantities: NDArray[np.int64], columns: NDArray[np.int64], features: int) -> Inputs:
    """Return inputs that are standard scores and indicators, then the other columns.

    A quantity of few values becomes an indicator for each. A value that many rows share gets an indicator, and the
    standard score of the others is computed without it. An indicator is a difference of two bins: between the values
    seen in training it is linear.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    quantities : ndarray of int64
        Columns that are quantities.
    columns : ndarray of int64
        All columns to encode.
    features : int
        Features that the columns belong to.
    """
    binned = np.intersect1d(quantities, columns)
    others = np.setdiff1d(columns, binned)
    parts = [_standardise_column(matrix[:, column].astype(np.float64)) for column in binned]
    cells = max([len(part.lower) for part in parts], default=1)
    lower = np.zeros((len(binned), cells), np.float32)
    inverse = np.zeros_like(lower)
    blocks, starts, noisy = [], [], []
    for row, part in enumerate(parts):
        lower[row, : len(part.lower)] = part.lower
        inverse[row, : len(part.lower)] = 1 / np.maximum(part.upper - part.lower, 1e-12)
        blocks.append(np.pad(part.weights, ((0, cells - len(part.lower)), (0, 0))))
        starts.append(part.start)
        noisy.append(part.noisy)
    zeros = np.zeros_like(lower)
    bins = Bins(binned, others, lower, inverse, zeros, np.zeros(len(binned), np.float32))
    return Inputs(
        bins,
        sparse.csr_array(sparse.block_diag([*blocks, sparse.eye_array(len(others))], format="csr")),
        np.concatenate([*starts, np.zeros(len(others))]),
        np.concatenate([*noisy, np.zeros(len(others))]).astype(np.float32),
        features,
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """Bins of one quantity, and its inputs as ``bins @ weights + start``."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weights: NDArray[np.float64]
    start: NDArray[np.float64]
    noisy: NDArray[np.float64]


def _standardise_column(values: NDArray[np.float64]) -> _Column:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= FEW_VALUES:
        return _mark_values(distinct, counts)
    spike = int(counts.argmax())
    has_spike = counts[spike] >= SPIKE_SHARE * len(values)
    rest = values[values != distinct[spike]] if has_spike else values
    low, high = np.quantile(rest, RANGE)
    if low == high:
        low, high = rest.min(), rest.max()
    within = rest.clip(low, high)
    mean, scale = within.mean(), within.std() or 1.0
    lower, upper, weights = [low], [high], [[(high - low) / scale]]
    start, noisy = [(low - mean) / scale], [1.0]
    if has_spike:
        # The indicator rises from the value before the spike and falls to the value after it; the score is 0 there.
        value, score = distinct[spike], (distinct[spike].clip(low, high) - mean) / scale
        ramps = [(distinct[spike - 1], value, 1.0)] if spike else []
        ramps += [(value, distinct[spike + 1], -1.0)] if spike + 1 < len(distinct) else []
        weights = [[*weights[0], 0.0], *([-score * rise, rise] for _, _, rise in ramps)]
        lower, upper = [low, *(ramp[0] for ramp in ramps)], [high, *(ramp[1] for ramp in ramps)]
        before = 0.0 if spike else 1.0
        start, noisy = [start[0] - score * before, before], [1.0, 0.0]
    return _Column(*(np.array(part, np.float64) for part in (lower, upper, weights, start, noisy)))


def _mark_values(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> _Column:
    """Return an indicator of each value and, where there are more than `INDICATORS_ONLY`, the standard score."""
    steps = len(distinct) - 1
    weights = np.eye(steps, steps + 1, 1) - np.eye(steps, steps + 1)
    start = np.eye(1, steps + 1)[0]
    noisy = np.zeros(steps + 1)
    if len(distinct) > INDICATORS_ONLY:
        mean = np.average(distinct, weights=counts)
        scale = np.sqrt(np.average((distinct - mean) ** 2, weights=counts))
        weights = np.column_stack([weights, np.diff(distinct) / scale])
        start, noisy = np.append(start, (distinct[0] - mean) / scale), np.append(noisy, 1.0)
    return _Column(distinct[:-1], distinct[1:], weights, start, noisy)
