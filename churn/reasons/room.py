"""Memory that is kept for the mixtures of the next customer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROOM_BYTES = 2**22
"""More is no faster; less means more runs of the network, each with a cost of its own."""


class Room:
    """Matrices of float32 that are used again; methods may be called by several threads.

    The service returns large blocks to the system, and touching new ones takes longer than filling them.

    Parameters
    ----------
    columns : int

    Attributes
    ----------
    rows : int
        Number of rows for which memory is kept, once for each thread that uses it at the same time.
    """

    def __init__(self, columns: int) -> None:
        self.rows = max(1, ROOM_BYTES // (4 * columns))
        self._columns = columns
        self._kept: list[NDArray[np.float32]] = []

    @contextmanager
    def take(self, rows: int) -> Iterator[NDArray[np.float32]]:
        """Lend a matrix of a number of rows, whose content is undefined."""
        if rows > self.rows:
            yield np.empty((rows, self._columns), np.float32)
            return
        try:
            matrix = self._kept.pop()
        except IndexError:  # none is free
            matrix = np.empty((self.rows, self._columns), np.float32)
        try:
            yield matrix[:rows]
        finally:
            self._kept.append(matrix)
