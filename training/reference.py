"""The tutorial network of the public table, trained as in the tutorial: all epochs and no validation set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from tqdm import tqdm

from training.context import Result, TrainingContext

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCHS = 50
BATCH_ROWS = 10


def fit(context: TrainingContext) -> Result:
    """Train the tutorial's network: Adam, binary cross-entropy, batches of 10, 50 epochs."""
    model = context.earlier.model if context.earlier else build(context.matrix.shape[1])
    model.compile(optimizer=keras.optimizers.Adam(), loss="binary_crossentropy")
    history = model.fit(
        context.matrix,
        context.labels,
        batch_size=BATCH_ROWS,
        epochs=EPOCHS,
        callbacks=[ProgressBar(EPOCHS)],
        verbose=0,
    )
    return Result(model, {"loss": [float(value) for value in history.history["loss"]]})


def build(width: int) -> keras.Model:
    """Build a network with two hidden layers of 6 ReLU units, uniformly initialised, and a sigmoid."""
    inputs = keras.Input((width,), name="customer")
    hidden = inputs
    for _ in range(2):
        hidden = keras.layers.Dense(6, activation="relu", kernel_initializer="uniform")(hidden)
    outputs = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="uniform", name="probability")(hidden)
    return keras.Model(inputs, outputs)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Progress bar with epoch, loss and remaining time; silent if standard error is not a terminal."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._bar: tqdm[Any] = tqdm(total=epochs, desc="training", unit="epoch", disable=None)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Advance the bar by one epoch."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()}, refresh=False)
        self._bar.update()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Close the bar."""
        self._bar.close()
