"""Repeated rows of a streamed table, counted by 64-bit keys of their content: 8 or 16 bytes per row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from training.dataset import describe_alike
from training.streaming import keys

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Repeats:
    """Counts rows that repeat an earlier one, with and without the identifier."""

    def __init__(self) -> None:
        self._content: list[NDArray[np.uint64]] = []
        self._whole: list[NDArray[np.uint64]] = []

    def add(self, raw: NDArray[np.float64], labels: NDArray[np.float64], customers: NDArray[np.uint64] | None) -> None:
        """Add usable rows.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        labels : ndarray of float64, shape (n,)
        customers : ndarray of uint64, shape (n,), or None
            Keys of the identifiers, if there are any.
        """
        content = keys.content_keys(raw, labels)
        self._content.append(content)
        if customers is not None:
            self._whole.append(keys.combine(content, customers))

    def describe(self, identifier: str | None) -> list[str]:
        """Return sentences on repeated rows; nothing if there are none.

        Rows are not dropped, since the first of them may already be on disk.
        """
        whole, alike = _count(self._whole), _count(self._content)
        notes = []
        if whole and identifier is not None:
            notes.append(
                f"{whole:,} rows repeat an earlier one of the same {identifier}; they are kept, because the table is "
                "streamed, and are in the same set."
            )
        return notes + describe_alike(alike - whole, identifier)


def _count(found: list[NDArray[np.uint64]]) -> int:
    """Return the number of keys that are not the first of their kind."""
    joined = np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)
    return int((joined[1:] == joined[:-1]).sum())
