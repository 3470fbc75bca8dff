"""Teaches a network, reproducibly, with its progress shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from training.networks import Recipe

History = dict[str, list[float]]
"""Per epoch: the training loss and, where there is a validation part, ``val_loss``; in nats."""


def make_reproducible(seed: int) -> None:
    """Seed every generator and make TensorFlow's operations deterministic, at a small price in speed."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit_network(
    model: keras.Model,
    recipe: Recipe,
    train: tuple[NDArray[np.float32], NDArray[np.float64]],
    validation: tuple[NDArray[np.float32], NDArray[np.float64]] | None,
) -> History:
    """Teach a network in place.

    Parameters
    ----------
    model : keras.Model
    recipe : Recipe
    train, validation : (matrix, labels)
        Matrix of float32, shape (n, width); labels of float64, shape (n,). Early stopping needs validation; where
        there is none, all epochs are trained.

    Returns
    -------
    History
    """
    model.compile(optimizer=recipe.optimizer(), loss="binary_crossentropy")
    callbacks: list[keras.callbacks.Callback] = [ProgressBar(recipe.epochs)]
    if recipe.patience and validation is not None:
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=recipe.patience, restore_best_weights=True))
    history = model.fit(
        *train,
        validation_data=validation,
        batch_size=recipe.batch_size,
        validation_batch_size=8192,
        epochs=recipe.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return {name: [float(value) for value in values] for name, values in history.history.items()}


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Shows epoch, losses and time left on a terminal; says nothing elsewhere."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._bar: tqdm[Any] = tqdm(total=epochs, desc="training", unit="epoch", disable=None)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Move on by one epoch."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()}, refresh=False)
        self._bar.update()

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:  # noqa: ARG002  Keras' signature
        """Leave the bar as it stands."""
        self._bar.close()
