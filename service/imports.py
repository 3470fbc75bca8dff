"""Keeps libraries out of the service that others would import along with themselves."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSED = ("matplotlib", "pandas", "sklearn")
"""Keras imports these where they are installed, for training and plots: 145 MB that scoring has no use for."""


@contextmanager
def keep_out() -> Iterator[None]:
    """Let imports of what is `UNUSED` fail meanwhile, as if it were not installed; what is imported already stays."""
    absent = [name for name in UNUSED if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))  # None there is how Python is told
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def import_pyarrow() -> None:
    """Import pyarrow, without pandas where that is kept out."""
    import pyarrow as pa

    # It looks for pandas once, with its first array, and stumbles over a None in sys.modules; it does not look again.
    with suppress(AttributeError):
        pa.array([])
