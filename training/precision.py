"""The floating point type that a network is computed in.

Networks are trained in float32 and published in float64: the engines sum in different orders, and each sums a batch
unlike one row, so that in float32 some published digits would depend on who computed them. In float64 what differs is
a thousand million times smaller than the last published digit (docs/decisions/digits.md).
"""

from __future__ import annotations

from typing import Literal

import keras

from churn.layers import ObliviousTrees, PiecewiseLinear, TailIndicators

EXACT = (ObliviousTrees, PiecewiseLinear, TailIndicators)
"""Layers without sums that could be rounded: they compare, look up, or work on each entry, alike in any engine."""


def convert(model: keras.Model, dtype: Literal["float32", "float64"]) -> keras.Model:
    """Return a copy of a network that is computed in another type from its first sums on.

    Parameters
    ----------
    model : keras.Model
        Of any of the layers that `training.onnx_network` writes.
    dtype : {"float32", "float64"}
        Type of the weights, of all sums and of the output; the input stays float32, as do the layers in `EXACT`.
    """

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        options = layer.get_config()
        if not isinstance(layer, EXACT):
            options["dtype"] = dtype
        return type(layer).from_config(options)

    copy = keras.models.clone_model(model, clone_function=copy_layer)
    for old, new in zip(model.layers, copy.layers, strict=True):
        new.set_weights(old.get_weights())
    return copy
