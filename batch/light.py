"""A start without pandas, which pyarrow imports by itself where it is installed, and which takes a second."""

from __future__ import annotations

import sys


class _NoPandas:
    """A finder that says pandas is not installed."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def keep_pandas_out() -> None:
    """Let pyarrow find no pandas in this process; call it before anything else of pyarrow, in a command alone.

    The first list that pyarrow makes an array of lets it look for pandas, whatever the list holds, and it looks once.
    Nothing is done where pandas is loaded already.
    """
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(finder)
