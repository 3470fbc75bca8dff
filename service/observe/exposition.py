"""The metrics of all workers in the Prometheus text format, from the directory that the workers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from service.observe.model_counts import RETIRED
from service.observe.prometheus_internals import WorkersCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric


class WorkersMetrics(Collector):
    """The metrics of all workers, for a process that has none of its own."""

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, aggregated over the workers, without what no longer applies."""
        registry = CollectorRegistry()
        WorkersCollector(registry)  # type: ignore[no-untyped-call]
        return leave_out_retired(registry.collect())


def expose_workers() -> bytes:
    """Return the metrics of all workers. What a worker has buffered, for 0.12 s at most, is not among them."""
    return generate_latest(WorkersMetrics())


def leave_out_retired(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield metrics without the gauges of models that are no longer served."""
    for metric in metrics:
        if metric.type == "gauge":
            metric.samples = [sample for sample in metric.samples if sample.value != RETIRED]
        yield metric
