"""The encoded table on disk, with rows distributed at random over many shards."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SHARD_ROWS = 250_000
"""Approximate number of rows per shard; one shard at a time is in memory."""

MOST_SHARDS = 512
"""Maximum number of shards; all are open at the same time, and a process may open 1,024 files."""

PARTS = ("train", "validation", "test")
"""Names of the sets; a row stores the index of its set."""

RECORD_BYTES = 200
"""Estimated bytes of the network's input per row, for the check of free disk space."""


@dataclass(frozen=True, slots=True)
class Shards:
    """Files of float64 rows: columns of the raw matrix, label, set.

    Attributes
    ----------
    folder : Path
    count : int
        Number of files.
    width : int
        Number of columns of the raw matrix.
    seed : int
    """

    folder: Path
    count: int
    width: int
    seed: int

    @classmethod
    def plan(cls, folder: Path, rows: int, width: int, seed: int) -> Shards:
        """Return shards for a table with the given number of rows.

        Raises
        ------
        TableError
            If the disk has too little free space.
        """
        needed = rows * (8 * (width + 2) + RECORD_BYTES)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise TableError(
                f"{folder}: the encoded table needs about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; "
                "use another folder with --scratch"
            )
        return cls(folder, min(max(1, round(rows / SHARD_ROWS)), MOST_SHARDS), width, seed)

    def path(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"raw-{shard:05d}"

    def load(self, shard: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        """Return raw matrix, labels and sets of a shard, in a random order that depends only on the seed.

        Returns
        -------
        raw : ndarray of float64, shape (n, features)
        labels : ndarray of float64, shape (n,)
            1 for a customer who left, otherwise 0.
        parts : ndarray of int64, shape (n,)
            Positions in `PARTS`.
        """
        rows = np.fromfile(self.path(shard), dtype=np.float64).reshape(-1, self.width + 2)
        rows = rows[np.random.default_rng([self.seed, shard]).permutation(len(rows))]
        return rows[:, : self.width], rows[:, self.width], rows[:, self.width + 1].astype(np.int64)

    def read(self) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
        """Yield name, raw matrix and labels of each set of each shard, including empty ones.

        Yields
        ------
        str, ndarray of float64 of shape (n, features), ndarray of float64 of shape (n,)
        """
        for shard in range(self.count):
            raw, labels, parts = self.load(shard)
            for position, name in enumerate(PARTS):
                chosen = parts == position
                yield name, raw[chosen], labels[chosen]

    def take(self, limits: dict[str, int]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return a random sample of each set with at most `limits` rows.

        Returns
        -------
        dict of str to (ndarray of float64 of shape (n, features), ndarray of float64 of shape (n,))
        """
        found: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {name: [] for name in limits}
        left = dict(limits)
        for name, raw, labels in self.read():
            found[name].append((raw[: left[name]].copy(), labels[: left[name]].copy()))
            left[name] -= len(found[name][-1][1])
            if not any(left.values()):
                break
        return {
            name: (np.concatenate([raw for raw, _ in pieces]), np.concatenate([labels for _, labels in pieces]))
            for name, pieces in found.items()
        }


class ShardWriter:
    """Context manager that appends rows to shards."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._files: list[BinaryIO] = []
        self._stack = ExitStack()

    def __enter__(self) -> ShardWriter:
        with self._stack as stack:
            self._files = [stack.enter_context(self._shards.path(n).open("wb")) for n in range(self._shards.count)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: Any) -> None:  # noqa: ANN401  the exception, if any
        self._stack.close()

    def write(
        self,
        raw: NDArray[np.float64],
        labels: NDArray[np.float64],
        parts: NDArray[np.int64],
        drawn: NDArray[np.float64],
    ) -> None:
        """Append rows.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
        labels : ndarray of float64, shape (n,)
            0 or 1.
        parts : ndarray of int64, shape (n,)
            Index of `PARTS`.
        drawn : ndarray of float64, shape (n,)
            Random numbers in [0, 1) that select the shard.
        """
        homes = (drawn * self._shards.count).astype(np.int64)
        order = np.argsort(homes, kind="stable")
        rows = np.column_stack([raw, labels, parts])[order]
        ends = np.searchsorted(homes[order], np.arange(self._shards.count), side="right")
        for file, piece in zip(self._files, np.split(rows, ends[:-1]), strict=True):
            file.write(piece.tobytes())
