"""Prometheus metrics of the service; docs/metrics.md describes each of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakSet

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest

from service.observe.exposition import WorkersMetrics, leave_out_retired
from service.observe.guard_metrics import GuardMetrics
from service.observe.model_counts import RETIRED, Families, ModelCounts
from service.observe.multiprocess import VARIABLE
from service.observe.performance_metrics import PerformanceMetrics
from service.observe.process_metrics import ProcessMetrics
from service.observe.prometheus_internals import FastHistogram
from service.observe.reason_metrics import ReasonMetrics
from service.observe.record_metrics import RecordMetrics
from service.observe.rejections import Rejections
from service.observe.shadow_metrics import ShadowMetrics
from service.observe.stages import STAGES
from service.observe.whatif_metrics import WhatIfMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric

    from churn.scorer import Scorer
    from service.errors import Problem

DURATIONS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SCORES = tuple(round(0.05 * step, 2) for step in range(1, 21))
SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
# They add a series per metric, and prometheus_client leaves them out with several workers.
disable_created_metrics()  # type: ignore[no-untyped-call]

STAGE_DURATIONS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 0.01, 0.1, 1)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Buffer(Protocol):
    """Holds what is yet to be counted."""

    def flush(self) -> None:
        """Count it."""


class Metrics:
    """The metrics of the service.

    Attributes
    ----------
    in_flight : Gauge
    process : ProcessMetrics
    shadow : ShadowMetrics
    guard : GuardMetrics
    what_if : WhatIfMetrics
    reasons : ReasonMetrics
    records : RecordMetrics
    performance : PerformanceMetrics
    buffers : set of Buffer
        Those that exist; they are flushed before each scrape.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter(
            "churn_requests_total",
            "Requests by route, method and status; status 499: the client disconnected before the response.",
            ("route", "method", "status"),
            **common,
        )
        self._durations = FastHistogram(
            "churn_request_duration_seconds",
            "Seconds from the request headers to the response, by route.",
            ("route",),
            buckets=DURATIONS,
            **common,
        )
        self.in_flight = Gauge(
            "churn_requests_in_flight",
            "Scoring requests whose body is being received or that wait for a thread.",
            multiprocess_mode="livesum",
            **common,
        )
        self._waiting = Gauge(
            "churn_requests_waiting",
            "Requests that have been read and wait for the event loop.",
            multiprocess_mode="livesum",
            **common,
        )
        self._most_waiting = Gauge(
            "churn_requests_waiting_limit",
            "Requests that may wait: as many as are scored within CHURN_QUEUE_SECONDS.",
            multiprocess_mode="livesum",
            **common,
        )
        customers = Counter(
            "churn_customers_total", "Scored customers, by decision: churn or stay.", ("decision",), **common
        )
        version_customers = Counter(
            "churn_version_customers_total",
            "Scored customers, by version of the model and decision.",
            ("version", "decision"),
            **common,
        )
        self._rejected_customers = Counter(
            "churn_rejected_customers_total",
            "Rows of tables that could not be scored and were returned with an error.",
            **common,
        )
        self._scores = FastHistogram("churn_score", "Probabilities of scored customers.", buckets=SCORES, **common)
        self._batches = FastHistogram("churn_batch_size", "Customers per scored request.", buckets=SIZES, **common)
        self._model = Gauge(
            "churn_model_info",
            "1 for the served model, which the labels identify.",
            ("version", "engine", "device"),
            multiprocess_mode="livemax",
            **common,
        )
        self._loads = Counter("churn_model_loads_total", "Model loads, by outcome.", ("outcome",), **common)
        self._changes = Counter(
            "churn_model_changes_total",
            "Changes of the served models while the service ran, by outcome: switched or failed.",
            ("outcome",),
            **common,
        )
        self._stages = FastHistogram(
            "churn_request_stage_duration_seconds",
            "Seconds per stage of scored requests: parse, queue, preprocess, inference, serialise.",
            ("stage",),
            buckets=STAGE_DURATIONS,
            **common,
        )
        bins = Counter(
            "churn_feature_bin_total",
            "Scored customers, by feature and histogram bin of the training data.",
            ("feature", "bin"),
            **common,
        )
        bin_shares = Gauge(
            "churn_feature_bin_training_share",
            "Share of the training data, by feature and bin.",
            ("feature", "bin"),
            multiprocess_mode="livemax",
            **common,
        )
        unusual = Counter(
            "churn_feature_out_of_range_total",
            "Scored values outside the range of the training data, by feature.",
            ("feature",),
            **common,
        )
        score_bins = Counter(
            "churn_score_bin_total", "Scored customers, by bin of the probability.", ("bin",), **common
        )
        score_bin_shares = Gauge(
            "churn_score_bin_training_share",
            "Share of the training data, by bin of the probability.",
            ("bin",),
            multiprocess_mode="livemax",
            **common,
        )
        self._ready = Gauge(
            "churn_ready_workers", "Workers that are ready to score.", multiprocess_mode="livesum", **common
        )
        self._fallbacks = Counter(
            "churn_canary_fallback_customers_total",
            "Customers chosen for the canary that the served model scored, because the canary's schema rejects them.",
            **common,
        )
        self._families = Families(customers, version_customers, bins, bin_shares, unusual, score_bins, score_bin_shares)
        self.process = ProcessMetrics(self._registry)
        self.shadow = ShadowMetrics(self._registry)
        self.guard = GuardMetrics(self._registry)
        self._rejections = Rejections(self._registry)
        self.what_if = WhatIfMetrics(self._registry)
        self.reasons = ReasonMetrics(self._registry)
        self.records = RecordMetrics(self._registry)
        self.performance = PerformanceMetrics(self._registry)
        # Children of the common case: looking them up costs more than the increment.
        self._scored = self._requests.labels("/predict", "POST", "200")
        self._predict_duration = self._durations.labels("/predict")
        self._stage_durations = [self._stages.labels(stage) for stage in STAGES]
        self._served: tuple[Gauge, ModelCounts] | None = None
        self.buffers: WeakSet[Buffer] = WeakSet()
        # Created at once: Prometheus does not count the first value of a series as an increase.
        for outcome in ("ok", "failed"):
            self._loads.labels(outcome)
        for outcome in ("switched", "failed"):
            self._changes.labels(outcome)
        for decision in ("churn", "stay"):
            customers.labels(decision)
        for status in ("499", "500", "503", "504"):
            self._requests.labels("/predict", "POST", status)

    def count_request(self, route: str, method: str, status: int, seconds: float, timed_as: str = "") -> None:
        """Count a completed request; `timed_as` is the route label of its duration, by default `route`."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._durations.labels(timed_as or route).observe(seconds)

    def count_rejection(self, problem: Problem) -> None:
        """Count a rejected request."""
        self._rejections.count(problem)

    def count_unparsed(self, reason: str | None, status: int, seconds: Sequence[float]) -> None:
        """Count requests to `POST /predict` that were refused or left before they were parsed.

        Parameters
        ----------
        reason : str or None
            The `Problem.kind`; None if the clients left.
        status : int
        seconds : sequence of float
            How long each has waited.
        """
        if reason is not None:
            self._rejections.count_unparsed(reason, len(seconds))
        self._requests.labels("/predict", "POST", str(status)).inc(len(seconds))
        self._predict_duration.observe_many(np.array(seconds))

    def set_waiting(self, waiting: int, limit: int) -> None:
        """Report how many requests wait, and how many may."""
        self._waiting.set(waiting)
        self._most_waiting.set(limit)

    def count_scored(
        self,
        counts: ModelCounts,
        raw: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        sizes: NDArray[np.int64],
        stamps: NDArray[np.float64],
    ) -> None:
        """Count successful requests to `POST /predict`.

        Parameters
        ----------
        counts : ModelCounts
            Of the model that scored them.
        raw : ndarray of float64, shape (customers, features)
            Customers of all requests.
        probabilities : ndarray of float64, shape (customers,)
        sizes : ndarray of int64, shape (requests,)
            Customers per request.
        stamps : ndarray of float64, shape (requests, 6)
            Timestamps, see `service.observe.stages.Stamps`.
        """
        self._scored.inc(len(stamps))
        self._predict_duration.observe_many(stamps[:, -1] - stamps[:, 0])
        for durations, seconds in zip(self._stage_durations, np.diff(stamps).T, strict=True):
            durations.observe_many(seconds)
        self._batches.observe_many(sizes)
        self.count_customers(counts, raw, probabilities)

    def count_customers(
        self, counts: ModelCounts, raw: NDArray[np.float64], probabilities: NDArray[np.float64]
    ) -> None:
        """Count customers that a model scored.

        Parameters
        ----------
        counts : ModelCounts
            Of the model.
        raw : ndarray of float64, shape (n, features)
        probabilities : ndarray of float64, shape (n,)
        """
        self._scores.observe_many(probabilities)
        counts.count(raw, probabilities)

    def count_block(
        self,
        counts: ModelCounts,
        raw: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        rejected: int,
        stamps: Sequence[float],
    ) -> None:
        """Count the scored and rejected rows of a part of a table; `count_batch` counts the table itself.

        Parameters
        ----------
        counts : ModelCounts
            Of the model.
        raw : ndarray of float64, shape (scored, features)
        probabilities : ndarray of float64, shape (scored,)
        rejected : int
        stamps : sequence of float
            Times of the stages, from `time.perf_counter`, one more than there are stages.
        """
        self.count_stages(stamps)
        self.count_customers(counts, raw, probabilities)
        self._rejected_customers.inc(rejected)

    def count_stages(self, stamps: Sequence[float]) -> None:
        """Count the durations of the stages of a request or block, see `service.observe.stages.Stamps`."""
        for durations, seconds in zip(self._stage_durations, np.diff(stamps).tolist(), strict=True):
            durations.observe(seconds)

    def count_batch(self, customers: int) -> None:
        """Count a table by its number of customers."""
        self._batches.observe(customers)

    def count_load(self, outcome: Literal["ok", "failed"]) -> None:
        """Count a model load."""
        self._loads.labels(outcome).inc()

    def count_change(self, outcome: Literal["switched", "failed"]) -> None:
        """Count a change of the served models."""
        self._changes.labels(outcome).inc()

    def count_canary_fallback(self, customers: int) -> None:
        """Count customers chosen for the canary that the served model scored."""
        self._fallbacks.inc(customers)

    def watch_model(self, scorer: Scorer) -> ModelCounts:
        """Create the counters of a model.

        Raises
        ------
        BundleError
            If the histograms of the model can't be read.
        """
        return ModelCounts(scorer, self._families)

    def set_model(self, scorer: Scorer, counts: ModelCounts) -> None:
        """Report the served model, and the shares of its training data, instead of the previous one's."""
        if scorer.engine.device != "CPU":
            self.process.watch_gpu(scorer.engine.device)
        info = self._model.labels(scorer.version, scorer.engine.name, scorer.engine.device)
        info.set(1)
        before, self._served = self._served, (info, counts)
        counts.report_shares(None if before is None else before[1])
        if before is not None and before[0] is not info:
            before[0].set(RETIRED)

    def set_ready(self, *, ready: bool) -> None:
        """Report whether this worker is ready."""
        self._ready.set(ready)

    def expose(self) -> bytes:
        """Return all metrics in the Prometheus text format, aggregated over the workers if there are several."""
        self.flush()
        self.process.update()
        return generate_latest(self)  # it only calls collect()

    def flush(self) -> None:
        """Count what is buffered."""
        for buffer in list(self.buffers):
            buffer.flush()

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, aggregated over the workers if there are several, without what no longer applies."""
        return WorkersMetrics().collect() if VARIABLE in os.environ else leave_out_retired(self._registry.collect())
