"""The networks that can be trained: each with the encoding it wants and the way it is taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from training.preprocess import Encoding

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and the way it is taught.

    Attributes
    ----------
    build : callable (width) -> keras.Model
        Makes the network for a matrix of that many columns; its output is a probability, shape (n, 1).
    encoding : Encoding
    optimizer : callable () -> keras.optimizers.Optimizer
    batch_size, epochs : int
    patience : int
        Epochs without a better validation log loss before training stops and the best weights return; 0 trains
        all epochs and needs no validation part.
    stratify : bool
        Whether the split keeps the share of leavers.
    """

    build: Callable[[int], keras.Model]
    encoding: Encoding
    optimizer: Callable[[], keras.optimizers.Optimizer]
    batch_size: int
    epochs: int
    patience: int
    stratify: bool = True


def build_default(width: int) -> keras.Model:
    """Make a multilayer perceptron with dropout."""
    inputs = keras.Input((width,), name="customer")
    hidden = inputs
    for units in (64, 32):
        hidden = keras.layers.Dense(units, activation="relu")(hidden)
        hidden = keras.layers.Dropout(0.2)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden))


def build_reference(width: int) -> keras.Model:
    """Make the network of the data set's tutorial: two hidden layers of 6 ReLU units, uniform initialisation."""
    inputs = keras.Input((width,), name="customer")
    hidden = inputs
    for _ in range(2):
        hidden = keras.layers.Dense(6, activation="relu", kernel_initializer="uniform")(hidden)
    outputs = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="uniform", name="probability")(hidden)
    return keras.Model(inputs, outputs)


RECIPES = {
    "default": Recipe(
        build=build_default,
        encoding=Encoding(),
        optimizer=lambda: keras.optimizers.AdamW(2e-3, weight_decay=1e-3),
        batch_size=128,
        epochs=200,
        patience=20,
    ),
    "reference": Recipe(
        build=build_reference,
        encoding=Encoding(drop_first=True, scale_all=True, max_levels=0, spike_share=2.0),
        optimizer=lambda: keras.optimizers.Adam(),
        batch_size=10,
        epochs=50,
        patience=0,
        stratify=False,
    ),
}
