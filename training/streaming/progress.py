"""Keras callback of streamed training: progress bar, validation after each epoch, best weights, early stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE = 4
"""Number of epochs without improvement after which training stops."""


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Restore the weights with the best validation loss; the initial weights are considered as well.

    Parameters
    ----------
    judge : callable
        Returns the validation loss of the model's current weights.
    epochs : int
    rows : int
        Number of rows per epoch.

    Attributes
    ----------
    first : float
        Validation loss before the first epoch.
    losses : list of float
        Validation loss after each epoch.
    """

    def __init__(self, judge: Callable[[], float], epochs: int, rows: int) -> None:
        super().__init__()
        self.first = np.inf
        self.losses: list[float] = []
        self._judge = judge
        self._epochs = epochs
        self._rows = rows
        self._least = np.inf
        self._weights: list[Any] = []
        self._bar: tqdm[Any] = tqdm(
            total=epochs * rows, desc="training", unit="row", unit_scale=True, disable=None, mininterval=0.5
        )

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Evaluate the initial weights."""
        self.first = self._keep_better()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Advance the progress bar; `batch` is the step within the epoch."""
        shown = len(self.losses) * self._rows + (batch + 1) * self._rows // self.params["steps"]
        self._bar.set_postfix_str(f"epoch {len(self.losses) + 1} of {self._epochs}, {_name(logs)}", refresh=False)
        self._bar.update(shown - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Evaluate the epoch; stop training if there has been no improvement."""
        self.losses.append(self._keep_better())
        if len(self.losses) - int(np.argmin(self.losses)) > PATIENCE:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Restore the best weights."""
        self.model.set_weights(self._weights)
        self._bar.close()

    def _keep_better(self) -> float:
        value = self._judge()
        if value < self._least:
            self._least, self._weights = value, self.model.get_weights()
        return value


def _name(logs: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
