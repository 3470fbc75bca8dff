"""The folder in which several workers share their metrics, from its making to its removal."""

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
"""Names the folder; prometheus_client reads it when it is imported."""

PREFIX = "churn-metrics-"

LOCK = "lock"
"""A file that is locked as long as the folder's supervisor lives."""


@contextmanager
def share_metrics() -> Iterator[None]:
    """Have processes that are started inside the block share their metrics; remove what they shared when it ends.

    Folders that killed services left are removed as well.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / f".{LOCK}").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f".{LOCK}").rename(folder / LOCK)  # locked before another service can look at it
            os.environ[VARIABLE] = name
            try:
                yield
            finally:
                del os.environ[VARIABLE]


def forget_worker(pid: int | None) -> None:
    """Drop the gauges of a worker that has ended; its counters stay, so that no total falls."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def remove_shared_metrics() -> None:
    """Remove the folder in the supervisor's place, for workers that outlive it."""
    if VARIABLE in os.environ:
        shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open("rb") as lock:  # OSError: another's, or locked
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
