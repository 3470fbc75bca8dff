"""Settings of streamed training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

STREAM_ROWS = 200_000
"""Tables with more rows are streamed by default; in memory, training would take most of an hour."""

SHOWN = 40_000_000
"""Default number of customers shown to the network over all epochs …"""
FEWEST_EPOCHS, MOST_EPOCHS = 4, 8
"""… within these minimum and maximum numbers of epochs."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """Settings of streamed training.

    Attributes
    ----------
    epochs : int or None
        Number of epochs; None to choose it by the size of the table.
    batch_rows : int
        Maximum batch size per device; smaller for small tables.
    learning_rate : float
        Peak learning rate for 8,192 customers per step; scales with the square root of the batch size.
    validation_size : float
        Fraction of the rows outside the test set for choosing the best epoch and for calibration. Above 0.
    sample_rows : int
        Training customers on which the default network is fitted first.
    mixed_precision : bool or None
        Whether hidden layers compute in float16; None to use it if all GPUs have tensor cores.
    scratch : Path or None
        Folder for the encoded table; None for the system's temporary folder.
    devices : tuple of str
        TensorFlow devices that share each step; empty for all GPUs, or the CPU if there are none.
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
        """Return the number of epochs for a number of training rows."""
        return self.epochs or min(max(FEWEST_EPOCHS, -(-SHOWN // rows)), MOST_EPOCHS)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that affect the model, without devices and folders."""
        names = ("epochs", "batch_rows", "learning_rate", "validation_size", "sample_rows", "mixed_precision")
        return {name: getattr(self, name) for name in names}
