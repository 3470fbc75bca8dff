"""Write a Keras network as an ONNX file, layer by layer.

Keras' own export traces the network with TensorFlow and converts the trace, which takes seconds and translates each
operation as it stands; here a layer is written in the operations that ONNX Runtime is quickest at. Only operators of
the standard sets (``ai.onnx``, ``ai.onnx.ml``) are used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper

from churn.errors import BundleError
from training.onnx_graph import Graph
from training.onnx_trees import add_trees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import keras
    from numpy.typing import NDArray

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 9
"""The oldest that goes with the operator sets, for old runtimes."""
ENTRY = "customer"
"""Name of the input."""
MOST_PRODUCTS = 4096
"""Multiplications for selecting columns up to which a product is quicker than gathering them."""

LEAST_ZEROS = 8192
"""Weights outside the blocks of a block-diagonal float64 matrix from which products of the blocks are quicker."""


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write a network with one input and one output.

    Parameters
    ----------
    model : keras.Model
        Of the layers in `LAYERS`, from float32 of shape (n, width) to float32 or float64 of shape (n, 1).
    path : Path

    Raises
    ------
    BundleError
        If the network has a layer or an activation that is not known here.
    """
    graph = Graph()
    exit_ = _add_model(graph, model, path.name)
    _save(graph, model.inputs[0].shape[1], exit_, 1, path)


def write_members(models: Sequence[keras.Model], path: Path) -> None:
    """Write networks with the same input as one with an output for each of them.

    Parameters
    ----------
    models : sequence of keras.Model
        As for `write_onnx`.
    path : Path

    Raises
    ------
    BundleError
        As `write_onnx`.
    """
    graph = Graph()
    exits = [_add_model(graph, model, path.name) for model in models]
    _save(graph, models[0].inputs[0].shape[1], graph.add("Concat", *exits, axis=1), len(models), path)


def _add_model(graph: Graph, model: keras.Model, file: str) -> str:
    """Add the layers of a network to a graph whose input is `ENTRY`; return the name of the output."""
    (entry,), (exit_,) = model.inputs, model.outputs
    names, used = {id(entry): ENTRY}, _find_used(model)
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in LAYERS:
            known = ", ".join(LAYERS)
            raise BundleError(f"layer {layer.name}: {kind} can't be written to {file}; allowed: {known}")
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [names[id(tensor)] for tensor in tensors]
        if layer.compute_dtype == "float64":
            inputs = [graph.in_double(name) for name in inputs]
        if kind == "PiecewiseLinear":
            names[id(layer.output)] = _piecewise_linear(graph, layer, inputs[0], used.get(id(layer.output)))
        else:
            names[id(layer.output)] = LAYERS[kind](graph, layer, *inputs)
    return names[id(exit_)]


def _save(graph: Graph, width: int, exit_: str, outputs: int, path: Path) -> None:
    answer = TensorProto.DOUBLE if graph.is_double(exit_) else TensorProto.FLOAT
    whole = helper.make_graph(
        [*graph.nodes, helper.make_node("Identity", [exit_], ["probability"])],
        "churn",
        [helper.make_tensor_value_info(ENTRY, TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("probability", answer, ["rows", outputs])],
        graph.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    proto = helper.make_model(whole, opset_imports=opsets, ir_version=IR_VERSION, producer_name="churn")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def _find_used(model: keras.Model) -> dict[int, NDArray[np.int64]]:
    """Return the columns that have a weight, of each tensor that only dense layers take, by the tensor's id."""
    weights: dict[int, list[NDArray[np.floating] | None]] = {}
    for layer in model.layers:
        kernel = layer.get_weights()[0] if type(layer).__name__ == "Dense" else None
        for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
            weights.setdefault(id(tensor), []).append(kernel)
    return {
        tensor: np.flatnonzero(np.any([kernel.any(axis=1) for kernel in kernels], axis=0))
        for tensor, found in weights.items()
        if len(kernels := [kernel for kernel in found if kernel is not None]) == len(found)
    }


def _activate(graph: Graph, layer: keras.layers.Layer, values: str) -> str:
    name = layer.activation.__name__
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise BundleError(f"layer {layer.name}: activation {name} can't be written to ONNX; allowed: {known}")
    return ACTIVATIONS[name](graph, values)


def _dense(graph: Graph, layer: keras.layers.Dense, values: str) -> str:
    kernel, *bias = layer.get_weights()
    kernel = kernel[graph.columns.get(values, slice(None))]
    if kernel.dtype == np.float64 and layer.activation.__name__ == "silu":
        # As h + h · tanh(h) for half the sum h: ONNX Runtime's Sigmoid takes three times as long in float64.
        half = _multiply(graph, values, kernel / 2, *(part / 2 for part in bias))
        return graph.add("Add", half, graph.add("Mul", half, graph.add("Tanh", half)))
    return _activate(graph, layer, _multiply(graph, values, kernel, *bias))


def _multiply(graph: Graph, values: str, kernel: NDArray[np.floating], *bias: NDArray[np.floating]) -> str:
    """Add a product of matrices, and a bias if there is one; of members side by side, one product for each."""
    blocks = _count_blocks(kernel) if kernel.dtype == np.float64 else 1
    if kernel.size - kernel.size // blocks < LEAST_ZEROS:
        return graph.add("Gemm", values, *map(graph.constant, (kernel, *bias)))
    above, below = (size // blocks for size in kernel.shape)
    each = np.stack([kernel[k * above : (k + 1) * above, k * below : (k + 1) * below] for k in range(blocks)])
    apart = graph.add("Reshape", values, graph.constant(np.array([-1, blocks, above])))
    product = graph.add("MatMul", graph.add("Transpose", apart, perm=[1, 0, 2]), graph.constant(each))
    together = graph.add("Transpose", product, perm=[1, 0, 2])
    summed = graph.add("Reshape", together, graph.constant(np.array([-1, kernel.shape[1]])))
    return graph.add("Add", summed, graph.constant(bias[0])) if bias else summed


def _count_blocks(kernel: NDArray[np.floating]) -> int:
    """Return the largest number of equal blocks on the diagonal outside which a matrix is 0."""
    rows, columns = np.nonzero(kernel)
    for blocks in range(math.gcd(*kernel.shape), 1, -1):
        if (rows // (kernel.shape[0] // blocks) == columns // (kernel.shape[1] // blocks)).all():
            return blocks
    return 1


def _piecewise_linear(
    graph: Graph, layer: keras.layers.Layer, matrix: str, used: NDArray[np.int64] | None = None
) -> str:
    width, bins = layer.input.shape[1], len(layer.columns) * len(layer.lower[0]) if layer.columns else 0
    if width * (bins + len(layer.others) if used is None else len(used)) <= MOST_PRODUCTS:
        return _select_by_product(graph, layer, matrix, width, used)
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


def _select_by_product(
    graph: Graph, layer: keras.layers.Layer, matrix: str, width: int, used: NDArray[np.int64] | None
) -> str:
    """Select the columns of bins and others by one product, which is exact: each sum has one nonzero term.

    For one row of few columns, fewer operations matter more than multiplications. Bins that fill the layer's matrix of
    edges up, and columns without a weight, are left out.
    """
    lower, inverse = (np.array(part, np.float32).reshape(-1) for part in (layer.lower, layer.inverse))
    bins, others = lower.size, len(layer.others)
    sources = np.array([*np.repeat(layer.columns, bins // len(layer.columns) if bins else 0), *layer.others], np.int64)
    kept = np.arange(bins + others)
    if used is not None and len(used):
        idle = np.append(inverse == 0, np.zeros(others, bool))
        kept = used[~idle[used]] if not idle[used].all() else used
    picker = np.zeros((width, len(kept)), np.float32)
    picker[sources[kept], np.arange(len(kept))] = 1

    def extend(values: NDArray[np.float32], other: float) -> str:
        return graph.constant(np.append(values, np.full(others, other, np.float32))[kept])

    chosen = graph.add("Gemm", matrix, graph.constant(picker), extend(-lower, 0))
    if (kept < bins).any():
        chosen = graph.add("Mul", chosen, extend(inverse, 1))
        chosen = graph.add("Max", chosen, extend(np.zeros(bins, np.float32), -np.inf))
        chosen = graph.add("Min", chosen, extend(np.ones(bins, np.float32), np.inf))
    if len(kept) < bins + others:
        graph.columns[chosen] = kept
    return chosen


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
