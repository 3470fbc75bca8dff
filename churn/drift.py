"""Drift detection: counts of customers in the histogram bins of the training data, for the service and batch jobs.

The population stability index over these bins measures the shift between two distributions: below 0.1 it is
insignificant, above 0.25 it is large (Siddiqi, 2006, "Credit Risk Scorecards").
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import write_date
from churn.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from churn.bundle import Manifest
    from churn.feature import Feature

MISSING = "missing"
"""Label of the bin of missing values."""

SHARE_FLOOR = 1e-4
"""Lower bound of a bin's share, which keeps the index finite if a bin is empty."""


class Bins:
    """Histogram bins of a feature or of the score, with the distribution of the training data.

    Parameters
    ----------
    name : str
    histogram : mapping
        Histogram of the manifest: ``counts``, and ``edges`` (inner edges, ascending; each bin includes its lower edge)
        or ``values``; optionally ``missing``.
    has_gaps : bool
        Whether values may be missing; the last bin then counts them.
    are_dates : bool
        Whether the values are days since 1970-01-01.

    Attributes
    ----------
    labels : tuple of str
    edges : list of float
    counts : ndarray of int64, shape (bins,)
        Number of customers in the training data.
    shares : ndarray of float64, shape (bins,)
        Shares of the training data; all zero if it is empty.
    """

    def __init__(
        self, name: str, histogram: Mapping[str, Any], *, has_gaps: bool = False, are_dates: bool = False
    ) -> None:
        self.name = name
        self.has_gaps = has_gaps
        try:
            if "values" in histogram:
                labels = [str(value) for value in histogram["values"]]
                # In the raw matrix, a category is its position and a flag is 0 or 1.
                self.edges = [position - 0.5 for position in range(1, len(labels))]
            else:
                self.edges = [float(edge) for edge in histogram["edges"]]
                labels = _name_intervals(self.edges, are_dates=are_dates)
            counts = [int(count) for count in histogram["counts"]]
            gaps = [int(histogram.get("missing", 0))] if has_gaps else []
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the histogram of {name} can't be read: {error!r}") from error
        if len(counts) != len(labels):
            raise BundleError(f"the histogram of {name} has {len(counts)} counts for {len(labels)} bins")
        self.labels = (*labels, *([MISSING] if has_gaps else []))
        self.counts = np.array(counts + gaps, dtype=np.int64)
        self.shares: NDArray[np.float64] = self.counts / max(int(self.counts.sum()), 1)

    def count(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count values of shape (n,) per bin; returns shape (bins,)."""
        # Differences of the counts at or above each edge are several times faster than finding the bin of each value.
        above = [np.count_nonzero(values >= edge) for edge in self.edges]
        gaps = np.count_nonzero(np.isnan(values)) if self.has_gaps else 0
        reached = np.array([len(values) - gaps, *above, 0], dtype=np.int64)
        counts = reached[:-1] - reached[1:]
        return np.append(counts, gaps) if self.has_gaps else counts


class Drift:
    """Counts customers in the histogram bins of a model's training data.

    Parameters
    ----------
    manifest : Manifest

    Attributes
    ----------
    features : tuple of Bins
        In the order of the schema.
    score : Bins

    Raises
    ------
    BundleError
        If the manifest's histograms can't be read.
    """

    def __init__(self, manifest: Manifest) -> None:
        histograms: Any = manifest.content.get("histograms", {})
        absent = [name for name in manifest.schema.names if name not in histograms]
        if absent or "score_histogram" not in manifest.content:
            raise BundleError(f"the manifest has no histogram of {', '.join(absent) or 'the score'}")
        features = manifest.schema.features
        self.features = tuple(
            Bins(f.name, histograms[f.name], has_gaps=f.nullable, are_dates=f.kind == "date") for f in features
        )
        self.score = Bins("score", manifest.content["score_histogram"])
        self._low, self._high = zip(*map(_trained_range, features), strict=True)

    def count(self, raw: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """Count customers per feature and bin.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            The raw matrix of `churn.columns`.

        Returns
        -------
        list of ndarray of int64
            Per feature, in the order of the schema, shape (bins,).
        """
        columns = np.ascontiguousarray(raw.T)
        return [bins.count(column) for bins, column in zip(self.features, columns, strict=True)]

    def count_unusual(self, raw: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count the values outside the range of the training data per feature; returns shape (features,)."""
        unusual = (raw < self._low) | (raw > self._high)
        counts: NDArray[np.int64] = np.zeros(len(self.features), dtype=np.int64)
        return np.count_nonzero(unusual, axis=0) if unusual.any() else counts

    def count_scores(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count probabilities of shape (n,) per bin of the score; returns shape (bins,)."""
        return self.score.count(probabilities)


def population_stability_index(expected: ArrayLike, found: ArrayLike) -> float:
    """Compute the population stability index of two distributions: the sum of (q - p) ln(q / p) over the bins.

    Parameters
    ----------
    expected, found : array_like, shape (bins,)
        Counts or shares. Each is divided by its sum, and shares are at least `SHARE_FLOOR`.

    Returns
    -------
    float
        0 for equal distributions; NaN if one of them is empty.
    """
    shares = []
    for counts in (expected, found):
        array = np.asarray(counts, dtype=np.float64)
        total = array.sum()
        if not total > 0:
            return float("nan")
        shares.append(np.maximum(array / total, SHARE_FLOOR))
    p, q = shares
    return float(((q - p) * np.log(q / p)).sum())


def _name_intervals(edges: Sequence[float], *, are_dates: bool) -> list[str]:
    names = [write_date(edge) if are_dates else f"{edge:.6g}" for edge in edges]
    if len(set(names)) < len(names):
        names = [repr(edge) for edge in edges]
    bounds = ["-inf", *names, "inf"]
    return [f"{'[' if i else '('}{low}, {high})" for i, (low, high) in enumerate(pairwise(bounds))]


def _trained_range(feature: Feature) -> tuple[float, float]:
    low, high = feature.trained_minimum, feature.trained_maximum
    return -np.inf if low is None else low, np.inf if high is None else high
