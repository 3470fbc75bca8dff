"""The network's matrix of all training rows on disk, in an order that is random through and through.

Rows were put into shards by chance, and a shard is shuffled while it is in memory, so the rows of all shards one after
another are a uniform shuffle (the external shuffle of Rao, 1961, and Sandelius, 1962). What a pass reads is then
blocks of rows, and shuffling blocks is enough to make passes differ.
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
"""Rows read at once: one by one they would cost more to read than to learn from."""

BUFFER_BLOCKS = 2048
"""Blocks that are drawn from while streaming."""

OPEN_FILES = 4
"""Files read in turns."""


@dataclass(frozen=True, slots=True)
class Records:
    """Files of float32 rows: columns of the network's matrix, and the label.

    Attributes
    ----------
    files : list of Path
        Each of whole blocks.
    width : int
        Columns of the matrix.
    rows : int
        Of the training part. Where they fill no whole number of blocks, the last block goes on with rows that
        were there before.
    """

    files: list[Path]
    width: int
    rows: int

    @property
    def blocks(self) -> int:
        """Blocks in all files."""
        return -(-self.rows // BLOCK_ROWS)

    def stream(self, batch_rows: int, seed: int) -> tf.data.Dataset:
        """Return (matrix, labels) in batches without end, each pass in another order.

        Parameters
        ----------
        batch_rows : int
            A multiple of `BLOCK_ROWS`.
        seed : int

        Returns
        -------
        tf.data.Dataset
            Of float32, shapes (batch_rows, width) and (batch_rows, 1).
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

        # No more than a few batches ahead: what is decoded lies in memory.
        return blocks.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def write_records(shards: Shards, preprocessor: Preprocessor, columns: NDArray[np.int64], rows: int) -> Records:
    """Preprocess the training part, shard by shard.

    Parameters
    ----------
    shards : Shards
    preprocessor : Preprocessor
    columns : ndarray of int64
        Of its matrix, those the network looks at.
    rows : int
        Of the training part.
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
