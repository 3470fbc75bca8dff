"""The directory in which several workers share their metrics, and its removal."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.multiprocess import mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the directory; prometheus_client reads it on import."""

PREFIX = "churn-metrics-"

LOCK = "lock"
"""File in the directory that is locked while its supervisor runs."""


@contextmanager
def share_metrics() -> Iterator[None]:
    """Create the directory for processes that are started inside the block, and remove it afterwards.

    Directories of services that were killed are removed as well.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / f".{LOCK}").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f".{LOCK}").rename(folder / LOCK)  # visible to other services only once it is locked
            os.environ[VARIABLE] = name
            try:
                yield
            finally:
                del os.environ[VARIABLE]


def forget_worker(pid: int | None) -> None:
    """Remove the gauges of a worker that has ended; its counters are kept, so that totals never decrease."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def remove_shared_metrics() -> None:
    """Remove the directory from a worker that outlives its supervisor."""
    if VARIABLE in os.environ:
        shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open("rb") as lock:  # OSError: locked, or another user's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
