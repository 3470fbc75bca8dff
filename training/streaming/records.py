"""The network's input for all training rows on disk, in random order.

Rows are distributed at random over shards, and each shard is shuffled in memory, so the concatenated shards are a
uniform shuffle (the external shuffle of Rao, 1961, and Sandelius, 1962). Epochs then read blocks of rows in different
orders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tqdm import tqdm

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from training.streaming.shards import Shards

BLOCK_ROWS = 256
"""Rows per block; reading single rows would cost more than training on them."""

BUFFER_BLOCKS = 2048
"""Number of blocks in the shuffle buffer."""

OPEN_FILES = 4
"""Number of files that are interleaved."""


@dataclass(frozen=True, slots=True)
class Records:
    """Files of float32 rows: columns of the network's input, and the label.

    Attributes
    ----------
    files : list of Path
        Each contains complete blocks.
    width : int
        Number of columns of the input.
    rows : int
        Number of training rows. The last block is filled up with earlier rows if necessary.
    """

    files: list[Path]
    width: int
    rows: int

    @property
    def blocks(self) -> int:
        """Total number of blocks."""
        return -(-self.rows // BLOCK_ROWS)

    def stream(self, batch_rows: int, seed: int) -> tf.data.Dataset:
        """Return an infinite dataset of batches (matrix, labels), each epoch in a different order.

        Parameters
        ----------
        batch_rows : int
            A multiple of `BLOCK_ROWS`.
        seed : int

        Returns
        -------
        tf.data.Dataset
            Float32 tensors, shapes (batch_rows, width) and (batch_rows, 1).
        """
        record_bytes = 4 * BLOCK_ROWS * (self.width + 1)
        blocks = (
            tf.data.Dataset.from_tensor_slices([str(file) for file in self.files])
            .shuffle(len(self.files), seed, reshuffle_each_iteration=True)
            .interleave(
                lambda file: tf.data.FixedLengthRecordDataset(file, record_bytes, buffer_size=1 << 20),
                cycle_length=OPEN_FILES,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .shuffle(min(self.blocks, BUFFER_BLOCKS), seed + 1, reshuffle_each_iteration=True)
            .repeat()
            .batch(batch_rows // BLOCK_ROWS, drop_remainder=True)
        )

        def decode(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = tf.reshape(tf.io.decode_raw(records, tf.float32), (batch_rows, self.width + 1))
            return rows[:, : self.width], rows[:, self.width :]

        # Only a few batches ahead, since decoded batches are in memory.
        return blocks.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def write_records(shards: Shards, preprocessor: Preprocessor, columns: NDArray[np.int64], rows: int) -> Records:
    """Preprocess the training rows, shard by shard.

    Parameters
    ----------
    shards : Shards
    preprocessor : Preprocessor
    columns : ndarray of int64, shape (kept,)
        Columns of the preprocessor's output that the network uses.
    rows : int
        Number of training rows.
    """
    files: list[Path] = []
    rest = np.empty((0, len(columns) + 1), dtype=np.float32)
    first: NDArray[np.float32] | None = None
    with tqdm(total=rows, desc="preprocessing", unit="row", unit_scale=True, disable=None) as bar:
        for name, raw, labels in shards.read():
            if name != "train":
                continue
            matrix = np.column_stack([preprocessor.transform(raw)[:, columns], labels.astype(np.float32)])
            bar.update(len(matrix))
            lines = np.concatenate([rest, matrix])
            first = lines[:BLOCK_ROWS].copy() if first is None else first
            whole = len(lines) // BLOCK_ROWS * BLOCK_ROWS
            rest = lines[whole:].copy()
            if whole:
                files.append(shards.folder / f"records-{len(files):05d}")
                lines[:whole].tofile(files[-1])
    if len(rest):
        files.append(shards.folder / f"records-{len(files):05d}")
        fill = rest if first is None or len(first) < BLOCK_ROWS else first
        np.resize(np.concatenate([rest, fill]), (BLOCK_ROWS, rest.shape[1])).tofile(files[-1])
    return Records(files, len(columns), rows)
