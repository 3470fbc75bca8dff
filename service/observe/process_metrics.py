"""Memory and CPU metrics of the worker processes. prometheus_client's own collector does not support several."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_STATM = Path("/proc/self/statm")


class ProcessMetrics:
    """Memory and CPU time of this worker, summed over all workers in a scrape.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = Gauge("churn_workers", "Workers that live.", multiprocess_mode="livesum", registry=registry)
        self._memory = Gauge(
            "churn_resident_memory_bytes",
            "Resident memory of the workers.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._cpu = Counter("churn_cpu_seconds_total", "CPU time of the workers.", registry=registry)
        self._gpu = Gauge(
            "churn_gpu_memory_bytes",
            "Memory that TensorFlow holds on a GPU.",
            ("device",),
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._counted = 0.0
        self._workers.set(1)
        self._device = ""

    def watch_gpu(self, device: str) -> None:
        """Report the memory of a GPU from now on; requires that TensorFlow is already imported."""
        self._device = device

    def update(self) -> None:
        """Set the metrics to their current values."""
        self._memory.set(read_resident_memory())
        used = time.process_time()
        self._cpu.inc(used - self._counted)
        self._counted = used
        if self._device:
            import tensorflow as tf

            self._gpu.labels(self._device).set(tf.config.experimental.get_memory_info(self._device)["current"])


def read_resident_memory() -> int:
    """Return the resident memory of this process in bytes; 0 on systems other than Linux."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
