"""What can be turned on a streamed training, and from which size on a table is streamed by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

STREAM_ROWS = 200_000
"""A table of more rows is streamed unless it is said otherwise: in memory it would take the better part of an hour."""

SHOWN = 40_000_000
"""Customers shown to the network in all, in as many passes as that takes …"""
FEWEST_EPOCHS, MOST_EPOCHS = 4, 8
"""… but no fewer and no more than these."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """How a table is streamed.

    Attributes
    ----------
    epochs : int or None
        Passes over the training part; None: by its size.
    batch_rows : int
        Customers a step and device, at most; fewer where the table is small.
    learning_rate : float
        At its height, for 8,192 customers a step; scales with the square root of their number.
    validation_size : float
        Share of what the test part leaves, on which the best pass is chosen and the network calibrated. Above 0.
    sample_rows : int
        Training customers for what needs whole arrays: preprocessor, tails, columns, teachers.
    mixed_precision : bool or None
        Whether hidden layers compute in float16; None: where there is a GPU whose tensor cores do.
    scratch : Path or None
        Folder for the encoded table; None: the system's for temporary files.
    devices : tuple of str
        What shares each step, as TensorFlow names it; empty: all GPUs, else the CPU.
    """

    epochs: int | None = None
    batch_rows: int = 8192
    learning_rate: float = 4e-3
    validation_size: float = 0.1
    sample_rows: int = 25_000
    mixed_precision: bool | None = None
    scratch: Path | None = None
    devices: tuple[str, ...] = ()

    def choose_epochs(self, rows: int) -> int:
        """Return the passes over that many training rows."""
        return self.epochs or min(max(FEWEST_EPOCHS, -(-SHOWN // rows)), MOST_EPOCHS)

    def to_dict(self) -> dict[str, Any]:
        """Return what shapes the model as plain data; where it was computed is left out."""
        names = ("epochs", "batch_rows", "learning_rate", "validation_size", "sample_rows", "mixed_precision")
        return {name: getattr(self, name) for name in names}
