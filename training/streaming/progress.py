"""Watches a streamed teaching: shows progress, judges each pass on the validation part, keeps the best weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE = 4
"""Passes in a row that may fail to be the best before the teaching ends."""


class KeepBest(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Leaves the model with the weights of the pass, or the start, that the validation part likes best.

    Parameters
    ----------
    judge : callable
        Returns the validation loss of the model as it is.
    epochs : int
    rows : int
        Shown a pass.

    Attributes
    ----------
    first : float
        Validation loss before the first pass.
    losses : list of float
        After each pass.
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
            total=epochs * rows, desc="teaching", unit="row", unit_scale=True, disable=None, mininterval=0.5
        )

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Judge the start."""
        self.first = self._keep_better()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        """Move on; `batch` counts the steps of this pass."""
        shown = len(self.losses) * self._rows + (batch + 1) * self._rows // self.params["steps"]
        self._bar.set_postfix_str(f"pass {len(self.losses) + 1} of {self._epochs}, {_name(logs)}", refresh=False)
        self._bar.update(shown - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Judge the pass; end the teaching if the last ones came to nothing."""
        self.losses.append(self._keep_better())
        if len(self.losses) - int(np.argmin(self.losses)) > PATIENCE:
            self.model.stop_training = True

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002
        """Take the best weights back."""
        self.model.set_weights(self._weights)
        self._bar.close()

    def _keep_better(self) -> float:
        value = self._judge()
        if value < self._least:
            self._least, self._weights = value, self.model.get_weights()
        return value


def _name(logs: Mapping[str, float] | None) -> str:
    return ", ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
