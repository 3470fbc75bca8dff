"""A network worked out by hand: NumPy alone, layer by layer, in float64. Both engines are held against it.

A layer the oracle does not know is an error, so that no network ships that was not worked out a second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

Array = NDArray[np.float64]


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(0, x),
}


def _activate(layer: Any, x: Array) -> Array:
    name = layer.activation.__name__
    assert name in ACTIVATIONS, f"the oracle does not know the activation {name} of the layer {layer.name}"
    return ACTIVATIONS[name](x)


def _weights(layer: Any) -> list[Array]:
    return [np.asarray(weight, dtype=np.float64) for weight in layer.get_weights()]


def _dense(layer: Any, x: Array) -> Array:
    kernel, *bias = _weights(layer)
    return _activate(layer, x @ kernel + (bias[0] if bias else 0))


def _batch_normalization(layer: Any, x: Array) -> Array:
    weights = dict(zip([weight.name for weight in layer.weights], _weights(layer), strict=True))
    normal = (x - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + layer.epsilon)
    return normal * weights.get("gamma", 1) + weights.get("beta", 0)


def _tail_indicators(layer: Any, x: Array) -> Array:
    signs = np.array(layer.signs)
    # The cut is a float32 to the network, and the matrix was one too.
    return (x[:, layer.columns] * signs < np.array(layer.cuts, dtype=np.float32) * signs).astype(np.float64)


def _piecewise_linear(layer: Any, x: Array) -> Array:
    lower, inverse = np.array(layer.lower, dtype=np.float32), np.array(layer.inverse, dtype=np.float32)
    bins = np.clip((x[:, layer.columns, None] - lower) * inverse.astype(np.float64), 0, 1)
    return np.concatenate([bins.reshape(len(x), -1), x[:, layer.others]], axis=1)


def _oblivious_trees(layer: Any, x: Array) -> Array:
    columns, borders, leaves = layer.get_weights()
    total = np.zeros((len(x), 1))
    for tree in range(layer.trees):
        leaf = (x[:, columns[:, tree]] > borders[:, tree]) @ (1 << np.arange(layer.depth))
        total[:, 0] += leaves[tree, leaf].astype(np.float64)
    return total


# Every layer has the same form, whether it has something to look up or not.


def _add(layer: Any, inputs: list[Array]) -> Array:  # noqa: ARG001
    return np.sum(inputs, axis=0)


def _average(layer: Any, inputs: list[Array]) -> Array:  # noqa: ARG001
    return np.mean(inputs, axis=0)


def _relu(layer: Any, x: Array) -> Array:  # noqa: ARG001
    return np.maximum(x, 0)


def _same(layer: Any, x: Array) -> Array:  # noqa: ARG001
    return x


LAYERS: dict[str, Callable[..., Array]] = {
    "Activation": _activate,
    "Add": _add,
    "Average": _average,
    "BatchNormalization": _batch_normalization,
    "Concatenate": lambda layer, inputs: np.concatenate(inputs, axis=layer.axis),
    "Dense": _dense,
    "Dropout": _same,
    "GaussianNoise": _same,
    "ObliviousTrees": _oblivious_trees,
    "PiecewiseLinear": _piecewise_linear,
    "ReLU": _relu,
    "Rescaling": lambda layer, x: x * layer.scale + layer.offset,
    "TailIndicators": _tail_indicators,
}
"""What each class of layers does when nothing is being trained."""


def predict(model: keras.Model, matrix: NDArray[np.floating[Any]]) -> Array:
    """Return the probabilities, shape (n,), of a matrix of shape (n, width)."""
    values: dict[int, Any] = {id(model.inputs[0]): np.asarray(matrix, dtype=np.float64)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            kind = type(node.operation).__name__
            assert kind in LAYERS, f"the oracle does not know the layer {kind}"
            inputs = [values[id(tensor)] for tensor in node.input_tensors]
            answer = LAYERS[kind](node.operation, inputs[0] if len(inputs) == 1 else inputs)
            values[id(node.output_tensors[0])] = answer
    return values[id(model.outputs[0])].reshape(-1)
