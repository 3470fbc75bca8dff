"""Read regular files only, up to a size: no links, devices or pipes, which could lead elsewhere or never end."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from churn.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path


def measure(path: Path) -> int:
    """Return the size of a regular file in bytes.

    Raises
    ------
    BundleError
        If it is missing, can't be examined, or is a link or a device.
    """
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        raise BundleError(f"{path}: is missing") from error
    except OSError as error:
        raise BundleError(f"{path}: can't be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path}: is not a regular file; copy the file into the folder")
    return found.st_size


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file.

    Parameters
    ----------
    path : Path
    limit : int
        Maximum size in bytes. No more is read, even if the file grows meanwhile.

    Raises
    ------
    BundleError
        If it is missing, too large, can't be read, or is a link or a device.
    """
    _refuse_size(path, measure(path), limit)
    try:
        # Neither follows a link nor waits for the other end of a pipe that has taken the file's place since.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor
            data = file.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{path}: can't be read: {error.strerror}") from error
    _refuse_size(path, len(data), limit)
    return data


def _refuse_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise BundleError(f"{path}: has {size:,} bytes; allowed: at most {limit:,}")
