"""Write a Keras network as an ONNX file, layer by layer.

Keras' own export traces the network with TensorFlow and converts the trace, which takes seconds and translates each
operation as it stands; here a layer is written in the operations that ONNX Runtime is quickest at. Only operators of
the standard sets (``ai.onnx``, ``ai.onnx.ml``) are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from churn.errors import BundleError
from training.onnx_graph import Graph
from training.onnx_trees import add_trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 9
"""The oldest that goes with the operator sets, for old runtimes."""
MOST_PRODUCTS = 4096
"""Multiplications for selecting columns up to which a product is quicker than gathering them."""


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write a network with one input and one output.

    Parameters
    ----------
    model : keras.Model
        Of the layers in `LAYERS`, from float32 of shape (n, width) to float32 of shape (n, 1).
    path : Path

    Raises
    ------
    BundleError
        If the network has a layer or an activation that is not known here.
    """
    (entry,), (exit_,) = model.inputs, model.outputs
    graph, names = Graph(), {id(entry): entry.name}
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in LAYERS:
            known = ", ".join(LAYERS)
            raise BundleError(f"layer {layer.name}: {kind} can't be written to {path.name}; allowed: {known}")
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        names[id(layer.output)] = LAYERS[kind](graph, layer, *(names[id(tensor)] for tensor in inputs))
    whole = helper.make_graph(
        [*graph.nodes, helper.make_node("Identity", [names[id(exit_)]], ["probability"])],
        "churn",
        [helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, ["rows", entry.shape[1]])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows", 1])],
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    proto = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION, producer_name="churn")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def _activate(graph: Graph, layer: keras.layers.Layer, values: str) -> str:
    name = layer.activation.__name__
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise BundleError(f"layer {layer.name}: activation {name} can't be written to ONNX; allowed: {known}")
    return ACTIVATIONS[name](graph, values)


def _dense(graph: Graph, layer: keras.layers.Dense, values: str) -> str:
    weights = [graph.constant(weight) for weight in layer.get_weights()]
    return _activate(graph, layer, graph.add("Gemm", values, *weights))


def _piecewise_linear(graph: Graph, layer: keras.layers.Layer, matrix: str) -> str:
    width, bins = layer.input.shape[1], len(layer.columns) * len(layer.lower[0]) if layer.columns else 0
    if width * (bins + len(layer.others)) <= MOST_PRODUCTS:
        return _select_by_product(graph, layer, matrix, width)
    parts = []
    if layer.columns:
        columns = graph.add("Gather", matrix, graph.constant(np.array(layer.columns)), axis=1)
        lower, inverse = np.array(layer.lower, np.float32), np.array(layer.inverse, np.float32)
        distance = graph.add(
            "Sub", graph.add("Unsqueeze", columns, graph.constant(np.array([2]))), graph.constant(lower)
        )
        risen = graph.add("Mul", distance, graph.constant(inverse))
        ends = [graph.constant(np.array(end, np.float32)) for end in (0, 1)]
        clipped = graph.add("Clip", risen, *ends)
        parts.append(graph.add("Reshape", clipped, graph.constant(np.array([-1, lower.size]))))
    if layer.others:
        parts.append(graph.add("Gather", matrix, graph.constant(np.array(layer.others)), axis=1))
    return graph.add("Concat", *parts, axis=1)


def _select_by_product(graph: Graph, layer: keras.layers.Layer, matrix: str, width: int) -> str:
    """Select the columns of bins and others by one product, which is exact: each sum has one nonzero term.

    For one row of few columns, fewer operations matter more than multiplications.
    """
    lower, inverse = (np.array(part, np.float32).reshape(-1) for part in (layer.lower, layer.inverse))
    bins, others = lower.size, len(layer.others)
    sources = [*np.repeat(layer.columns, bins // len(layer.columns) if bins else 0), *layer.others]
    picker = np.zeros((width, bins + others), np.float32)
    picker[np.array(sources, np.int64), np.arange(bins + others)] = 1

    def extend(values: NDArray[np.float32], other: float) -> str:
        return graph.constant(np.append(values, np.full(others, other, np.float32)))

    risen = graph.add("Gemm", matrix, graph.constant(picker), extend(-lower, 0))
    if bins:
        risen = graph.add("Mul", risen, extend(inverse, 1))
        risen = graph.add("Max", risen, extend(np.zeros(bins, np.float32), -np.inf))
        risen = graph.add("Min", risen, extend(np.ones(bins, np.float32), np.inf))
    return risen


def _oblivious_trees(graph: Graph, layer: keras.layers.Layer, matrix: str) -> str:
    return add_trees(graph, matrix, tuple(layer.get_weights()), layer.input.shape[1])


def _add(graph: Graph, layer: keras.layers.Add, *parts: str) -> str:  # noqa: ARG001  all layers alike
    return graph.add("Sum", *parts)  # one node: for a single row, nodes cost more than what they work out


ACTIVATIONS: dict[str, Callable[[Graph, str], str]] = {
    "linear": lambda graph, values: values,  # noqa: ARG005
    "relu": lambda graph, values: graph.add("Relu", values),
    "sigmoid": lambda graph, values: graph.add("Sigmoid", values),
    "silu": lambda graph, values: graph.add("Mul", values, graph.add("Sigmoid", values)),
}
LAYERS: dict[str, Callable[..., str]] = {
    "Activation": _activate,
    "Add": _add,
    "Dense": _dense,
    "ObliviousTrees": _oblivious_trees,
    "PiecewiseLinear": _piecewise_linear,
}
"""What each class of layers adds to the graph, given the names of its inputs."""
