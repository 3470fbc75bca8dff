"""Prevents the import of packages that are not needed, but that other packages import if they are installed."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TRAINING_ONLY = ("matplotlib", "pandas", "sklearn")
"""Packages that scoring does not need. Keras imports all three, pyarrow imports pandas: 145 MB and one second."""


class _Blocker:
    """Import finder that raises `ModuleNotFoundError` for the given top-level packages."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002  the import system's
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is blocked in this process", name=fullname)


@contextmanager
def block_imports() -> Iterator[None]:
    """Raise `ModuleNotFoundError` for imports of `TRAINING_ONLY` packages inside the block; also usable as a decorator.

    Packages that are already imported are not blocked. pyarrow looks for pandas only once, when the process creates its
    first array.
    """
    blocker = _Blocker(frozenset(TRAINING_ONLY) - sys.modules.keys())
    sys.meta_path.insert(0, blocker)
    try:
        yield
    finally:
        sys.meta_path.remove(blocker)
