"""Write files atomically."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
