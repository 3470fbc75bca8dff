"""The directory in which several workers share their metrics, and its removal."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client.multiprocess import mark_process_dead

from churn.runtime.private_folder import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the directory; prometheus_client reads it on import."""

PREFIX = "churn-metrics-"


@contextmanager
def share_metrics() -> Iterator[None]:
    """Create the directory for processes that are started inside the block, and remove it afterwards.

    Directories of services that were killed are removed as well.
    """
    with private_folder(PREFIX) as folder:
        os.environ[VARIABLE] = str(folder)
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def forget_worker(place: int) -> None:
    """Remove the gauges of a worker that has ended; its counters are kept, and continued by the next in its place."""
    mark_process_dead(place)  # type: ignore[no-untyped-call]


def remove_shared_metrics() -> None:
    """Remove the directory from a worker that outlives its supervisor."""
    if VARIABLE in os.environ:
        shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)
