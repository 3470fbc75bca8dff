"""Keeps a process from importing libraries that it does not use, but that others import where they are installed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAINING_ONLY = ("matplotlib", "pandas", "sklearn")
"""Keras imports all three where they are installed, and pyarrow imports pandas: 145 MB and a second of start-up."""


class _Blocker:
    """An import finder that reports the given top-level packages as not installed."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002  the import system's
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is kept out of this process", name=fullname)


@contextmanager
def block_imports() -> Iterator[None]:
    """Make imports of the `TRAINING_ONLY` packages fail inside the block, as if they were not installed.

    Also a decorator. Packages that are imported already stay importable. pyarrow looks for pandas once, when it makes
    its first array, so a process that makes that array inside the block works without pandas from then on.
    """
    blocker = _Blocker(frozenset(TRAINING_ONLY) - sys.modules.keys())
    sys.meta_path.insert(0, blocker)
    try:
        yield
    finally:
        sys.meta_path.remove(blocker)
