"""What Prometheus reads; docs/metrics.md says what each metric is for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import generate_latest

from churn.drift import Drift
from service.observe.drift_metrics import DriftMetrics
from service.observe.multiprocess import VARIABLE
from service.observe.process_metrics import ProcessMetrics
from service.observe.prometheus_internals import FastHistogram, WorkersCollector
from service.observe.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from churn.scorer import Scorer

DURATIONS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SCORES = tuple(round(0.05 * step, 2) for step in range(1, 21))
SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
# One series more for each metric, and absent with several workers anyway.
disable_created_metrics()  # type: ignore[no-untyped-call]

STAGE_DURATIONS = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 0.01, 0.1, 1)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The service's metrics, with the labels of the common case bound beforehand."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        common: dict[str, Any] = {"registry": self._registry}
        self._requests = Counter(
            "churn_requests_total",
            "Requests answered, by path, method and status; status 499: the client left before its answer.",
            ("route", "method", "status"),
            **common,
        )
        self._durations = FastHistogram(
            "churn_request_duration_seconds",
            "Seconds from a request's headers to its answer, by path.",
            ("route",),
            buckets=DURATIONS,
            **common,
        )
        self.in_flight = Gauge(
            "churn_requests_in_flight",
            "Requests to score whose body is arriving or that wait for a thread.",
            multiprocess_mode="livesum",
            **common,
        )
        self._rejected = Counter(
            "churn_rejected_requests_total",
            "Requests to score that were refused, by the kind of problem.",
            ("reason",),
            **common,
        )
        self._customers = Counter(
            "churn_customers_total", "Customers scored, by decision: churn or stay.", ("decision",), **common
        )
        self._rejected_customers = Counter(
            "churn_rejected_customers_total",
            "Rows of tables that could not be scored, and were answered with what is wrong with them.",
            **common,
        )
        self._scores = FastHistogram("churn_score", "Probabilities of the customers scored.", buckets=SCORES, **common)
        self._batches = FastHistogram("churn_batch_size", "Customers in one scored request.", buckets=SIZES, **common)
        self._model = Gauge(
            "churn_model_info",
            "1 for the model that is served, named by its labels.",
            ("version", "engine", "device"),
            multiprocess_mode="livemax",
            **common,
        )
        self._loads = Counter("churn_model_loads_total", "Loads of a model, by outcome.", ("outcome",), **common)
        self._stages = FastHistogram(
            "churn_request_stage_duration_seconds",
            "Seconds that the stages of scored requests took: parse, queue, preprocess, inference, serialise.",
            ("stage",),
            buckets=STAGE_DURATIONS,
            **common,
        )
        self._bins = Counter(
            "churn_feature_bin_total",
            "Customers scored, by feature and training's bin of its value.",
            ("feature", "bin"),
            **common,
        )
        self._bin_shares = Gauge(
            "churn_feature_bin_training_share",
            "Share of training's customers, by feature and bin.",
            ("feature", "bin"),
            multiprocess_mode="livemax",
            **common,
        )
        self._unusual = Counter(
            "churn_feature_out_of_range_total",
            "Values scored outside the range that training saw, by feature.",
            ("feature",),
            **common,
        )
        self._score_bins = Counter(
            "churn_score_bin_total", "Customers scored, by bin of their probability.", ("bin",), **common
        )
        self._score_bin_shares = Gauge(
            "churn_score_bin_training_share",
            "Share of training's customers, by bin of their probability.",
            ("bin",),
            multiprocess_mode="livemax",
            **common,
        )
        self._ready = Gauge(
            "churn_ready_workers", "Workers that are ready to score.", multiprocess_mode="livesum", **common
        )
        self.process = ProcessMetrics(self._registry)
        # Looked up once: a lookup costs more than the increment.
        self._scored = self._requests.labels("/predict", "POST", "200")
        self._predict_duration = self._durations.labels("/predict")
        self._stage_durations = [self._stages.labels(stage) for stage in STAGES]
        self._churn, self._stay = self._customers.labels("churn"), self._customers.labels("stay")
        self._drift: DriftMetrics | None = None
        self._threshold = 0.5
        self.before_exposing: Callable[[], None] = lambda: None
        # There from the start: to Prometheus a counter's first value is no increase, so first failures would go unseen.
        for outcome in ("ok", "failed"):
            self._loads.labels(outcome)
        for status in ("500", "503"):
            self._requests.labels("/predict", "POST", status)
        for reason in ("not-ready", "overloaded"):
            self._rejected.labels(reason)

    def count_request(self, route: str, method: str, status: int, seconds: float, timed_as: str = "") -> None:
        """Count an answered request; `timed_as` is the label of its duration, if that is not the route."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._durations.labels(timed_as or route).observe(seconds)

    def count_rejection(self, reason: str) -> None:
        """Count a request to score that was refused; `reason` is a problem's kind."""
        self._rejected.labels(reason).inc()

    def count_scored(
        self,
        raw: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        sizes: NDArray[np.int64],
        stamps: NDArray[np.float64],
    ) -> None:
        """Count answered requests to `POST /predict`.

        Parameters
        ----------
        raw : ndarray of float64, shape (customers, features)
            Of all requests.
        probabilities : ndarray of float64, shape (customers,)
        sizes : ndarray of int64, shape (requests,)
            Customers in each.
        stamps : ndarray of float64, shape (requests, 6)
            The times of `service.observe.stages.Stamps`.
        """
        self._scored.inc(len(stamps))
        self._predict_duration.observe_many(stamps[:, -1] - stamps[:, 0])
        for durations, seconds in zip(self._stage_durations, np.diff(stamps).T, strict=True):
            durations.observe_many(seconds)
        self.count_customers(raw, probabilities, sizes)

    def count_customers(
        self, raw: NDArray[np.float64], probabilities: NDArray[np.float64], sizes: NDArray[np.int64]
    ) -> None:
        """Count customers scored, in requests of these sizes."""
        leaving = int(np.count_nonzero(probabilities > self._threshold))
        self._churn.inc(leaving)
        self._stay.inc(len(probabilities) - leaving)
        self._scores.observe_many(probabilities)
        self._batches.observe_many(sizes)
        if self._drift is not None:
            self._drift.count(raw, probabilities)

    def count_block(
        self, raw: NDArray[np.float64], probabilities: NDArray[np.float64], rejected: int, stamps: Sequence[float]
    ) -> None:
        """Count what became of a part of a table; the table itself is counted when it is answered."""
        for durations, seconds in zip(self._stage_durations, np.diff(stamps).tolist(), strict=True):
            durations.observe(seconds)
        self.count_customers(raw, probabilities, np.zeros(0, dtype=np.int64))
        self._rejected_customers.inc(rejected)

    def count_batch(self, customers: int) -> None:
        """Count how many customers an answered table had."""
        self._batches.observe(customers)

    def count_load(self, outcome: Literal["ok", "failed"]) -> None:
        """Count a load of a model."""
        self._loads.labels(outcome).inc()

    def set_model(self, scorer: Scorer) -> None:
        """Say which model is served, and how its training's customers were spread."""
        self._threshold = scorer.threshold
        if scorer.engine.device != "CPU":
            self.process.watch_gpu(scorer.engine.device)
        self._model.labels(scorer.version, scorer.engine.name, scorer.engine.device).set(1)
        families = (self._bins, self._bin_shares, self._unusual, self._score_bins, self._score_bin_shares)
        self._drift = DriftMetrics(Drift(scorer.manifest), *families)

    def set_ready(self, *, ready: bool) -> None:
        """Say whether this worker is ready."""
        self._ready.set(ready)

    def expose(self) -> bytes:
        """Return the text Prometheus reads, summed over the workers where there are several."""
        self.before_exposing()
        self.process.update()
        if VARIABLE not in os.environ:
            return generate_latest(self._registry)
        summed = CollectorRegistry()
        WorkersCollector(summed)  # type: ignore[no-untyped-call]
        return generate_latest(summed)
