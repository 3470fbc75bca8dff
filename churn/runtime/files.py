"""Write files atomically."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")
"""Format of the temporary names of `write_aside`."""


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` if the block succeeds, otherwise remove it."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    aside.touch(exist_ok=False)
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def find_left_aside(path: Path) -> list[Path]:
    """Return temporary files that killed writers of `path` left."""
    return [left for left in path.parent.glob(f".{path.name}.*") if _ASIDE.fullmatch(left.name)]


def replace_text(path: Path, text: str) -> None:
    """Replace the content of a file atomically."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or what a link leads to, for reading.

    Raises
    ------
    OSError
        If it can't be opened, or is not a regular file. The other end of a pipe is not waited for.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file")
    return file


def sync(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
