"""Counts of the customers that one model scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.drift import Drift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from prometheus_client import Counter, Gauge

    from churn.drift import Bins
    from churn.scorer import Scorer

RETIRED = -1.0
"""Value of a gauge that no longer applies, e.g. the label of a model that was replaced. It is left out of scrapes.

Removing a series would have no effect in the files of several workers, which keep its last value. No gauge of the
service is negative, and the maximum over the workers is the value of one to which it still applies."""


class Families(NamedTuple):
    """The metrics of which each model has series.

    Attributes
    ----------
    decisions : Counter
        By decision.
    version_decisions : Counter
        By version and decision.
    bins, unusual, score_bins : Counter
        By feature and bin, by feature, and by bin.
    bin_shares, score_bin_shares : Gauge
        Shares of the training data, with the labels of `bins` and `score_bins`.
    """

    decisions: Counter
    version_decisions: Counter
    bins: Counter
    bin_shares: Gauge
    unusual: Counter
    score_bins: Counter
    score_bin_shares: Gauge


class ModelCounts:
    """Counts decisions, and customers per feature and bin of the training data.

    All counters are created at once, so that Prometheus sees the first increment of each.

    Parameters
    ----------
    scorer : Scorer
    families : Families

    Attributes
    ----------
    counts_scores : bool
        Whether probabilities are counted in the bins of the training data; only those of the served model are, because
        the bins have the same names in every model.
    mirror : callable or None
        Called with all customers that are counted, e.g. by a shadow.

    Raises
    ------
    BundleError
        If the histograms of the model can't be read.
    """

    def __init__(self, scorer: Scorer, families: Families) -> None:
        self._families = families
        self._threshold = scorer.threshold
        self._drift = Drift(scorer.manifest)
        self._churn, self._stay = (families.decisions.labels(decision) for decision in ("churn", "stay"))
        self._of_version = [families.version_decisions.labels(scorer.version, name) for name in ("churn", "stay")]
        self._bins = [
            [families.bins.labels(feature.name, label) for label in feature.labels] for feature in self._drift.features
        ]
        self._unusual = [families.unusual.labels(feature.name) for feature in self._drift.features]
        self._score_bins = [families.score_bins.labels(label) for label in self._drift.score.labels]
        self.counts_scores = False
        self.mirror: Callable[[NDArray[np.float64], NDArray[np.float64]], None] | None = None

    def count(self, raw: NDArray[np.float64], probabilities: NDArray[np.float64]) -> None:
        """Count scored customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        probabilities : ndarray of float64, shape (n,)
        """
        leaving = int(np.count_nonzero(probabilities > self._threshold))
        for counters in ((self._churn, self._stay), self._of_version):
            counters[0].inc(leaving)
            counters[1].inc(len(probabilities) - leaving)
        for children, counts in zip(self._bins, self._drift.count(raw), strict=True):
            _add(children, counts)
        _add(self._unusual, self._drift.count_unusual(raw))
        if self.counts_scores:
            _add(self._score_bins, self._drift.count_scores(probabilities))
        if self.mirror is not None:
            self.mirror(raw, probabilities)

    def report_shares(self, previous: ModelCounts | None) -> None:
        """Report the shares of the training data instead of those of `previous`, the model that is replaced."""
        old = {} if previous is None else previous.list_shares()
        new = self.list_shares()
        for (gauge, labels), share in (dict.fromkeys(old, RETIRED) | new).items():
            gauge.labels(*labels).set(share)
        self.counts_scores = True
        if previous is not None and previous is not self:
            previous.counts_scores = False

    def list_shares(self) -> dict[tuple[Gauge, tuple[str, ...]], float]:
        """Return the gauges with their labels, and their values."""
        shares = dict(_list_shares(self._families.score_bin_shares, (), self._drift.score))
        for feature in self._drift.features:
            shares |= _list_shares(self._families.bin_shares, (feature.name,), feature)
        return shares


def _list_shares(
    gauge: Gauge, labels: tuple[str, ...], bins: Bins
) -> Iterable[tuple[tuple[Gauge, tuple[str, ...]], float]]:
    for label, share in zip(bins.labels, bins.shares.tolist(), strict=True):
        yield (gauge, (*labels, label)), share


def _add(children: list[Counter], counts: NDArray[np.int64]) -> None:
    for child, count in zip(children, counts.tolist(), strict=True):
        if count:
            child.inc(count)
