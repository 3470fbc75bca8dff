"""Drift metrics: customers per histogram bin of the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from prometheus_client import Counter, Gauge

    from churn.drift import Bins, Drift


class DriftMetrics:
    """Counts the scored customers of one model per feature and bin.

    All series are created at once, so that Prometheus sees the first increment of each.

    Parameters
    ----------
    drift : Drift
    bins, unusual, score_bins : Counter
        Labelled by feature and bin, by feature, and by bin.
    bin_shares, score_bin_shares : Gauge
        Shares of the training data, with the labels of `bins` and `score_bins`.
    """

    def __init__(
        self, drift: Drift, bins: Counter, bin_shares: Gauge, unusual: Counter, score_bins: Counter,
        score_bin_shares: Gauge,
    ) -> None:  # fmt: skip
        self._drift = drift
        self._bins = [_label(bins, bin_shares, feature, (feature.name,)) for feature in drift.features]
        self._score_bins = _label(score_bins, score_bin_shares, drift.score, ())
        self._unusual = [unusual.labels(feature.name) for feature in drift.features]

    def count(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Count scored customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        probabilities : ndarray of float64, shape (n,)
        """
        for children, counts in zip(self._bins, self._drift.count(raw), strict=True):
            _add(children, counts)
        _add(self._unusual, self._drift.count_unusual(raw))
        _add(self._score_bins, self._drift.count_scores(probabilities))


def _label(counter: Counter, shares: Gauge, bins: Bins, labels: tuple[str, ...]) -> list[Counter]:
    for label, share in zip(bins.labels, bins.shares.tolist(), strict=True):
        shares.labels(*labels, label).set(share)
    return [counter.labels(*labels, label) for label in bins.labels]


def _add(children: list[Counter], counts: NDArray[np.int64]) -> None:
    for child, count in zip(children, counts.tolist(), strict=True):
        if count:
            child.inc(count)
