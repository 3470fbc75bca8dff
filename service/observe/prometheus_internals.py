"""All code that uses private parts of prometheus_client, whose version pyproject.toml therefore bounds from above.

tests/service/observe/test_prometheus_internals.py fails with the name of a part that has changed.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from prometheus_client.metrics_core import Metric


def name_metrics_of(place: int | str) -> None:
    """Name the files of this process's metrics, created from now on, after its place instead of its process.

    A worker that takes the place of one that has ended continues its counters, so that totals never decrease and the
    number of files stays the same.
    """
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


class FastHistogram(Histogram):
    """A histogram that finds buckets by bisection and can observe an array."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._bounds = np.array(self._upper_bounds)

    def observe(self, amount: float, exemplar: Any = None) -> None:  # noqa: ANN401, ARG002  the parent's signature
        """Observe one value."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)

    def observe_many(self, amounts: NDArray[np.float64] | NDArray[np.int64]) -> None:
        """Observe each value of an array.

        Parameters
        ----------
        amounts : ndarray, shape (n,)
        """
        for position, count in enumerate(np.bincount(self._bounds.searchsorted(amounts)).tolist()):
            if count:
                self._buckets[position].inc(count)
        self._sum.inc(float(amounts.sum()))


class WorkersCollector(MultiProcessCollector):
    """Aggregates the metrics of all workers, also while workers start and end.

    The parent class raises `struct.error` for a file that a worker has created but not yet given its size.
    """

    def collect(self) -> Iterable[Metric]:
        """Return the metrics in the files of all workers, aggregated by the mode of each metric."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _has_content(file)]
        return self.merge(files)  # type: ignore[no-untyped-call, no-any-return]


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # removed with the gauges of a worker that has ended
        return False
