"""Temporary folders of running services, which are removed even if all processes of a service were killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = "lock"
"""File in the folder that is locked while the process that created it runs."""


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Create a folder that only this user can read, and remove it after the block.

    Parameters
    ----------
    prefix : str
        Beginning of its name. Folders with the same prefix that killed processes left are removed as well.

    Raises
    ------
    OSError
        If no folder can be created.
    """
    _remove_abandoned(Path(tempfile.gettempdir()), prefix)
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / f".{LOCK}").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f".{LOCK}").rename(folder / LOCK)  # visible to other services only once it is locked
            yield folder


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError), (folder / LOCK).open("rb") as lock:  # OSError: locked, or another user's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
