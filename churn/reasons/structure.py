"""What a network hears of its inputs, and where its first layer mixes them.

Follows the ONNX graph from the input to the output and notes for each entry of each tensor the inputs that it can
depend on. An operation that is not known here is taken to depend on all that enters it, so that nothing is overlooked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from churn.reasons.onnx_file import Node, OnnxFile

_ALIKE = frozenset({
    "Abs", "Add", "Cast", "Clip", "Div", "Elu", "Erf", "Exp", "HardSigmoid", "Identity", "LeakyRelu", "Max", "Min",
    "Mul", "Neg", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Sum", "Tanh",
})  # fmt: skip
"""Operations on each entry by itself, which broadcast as NumPy does."""


@dataclass(frozen=True, slots=True)
class MixingLayer:
    """The linear layer that all paths from the input lead through, before which no entry mixes features.

    Attributes
    ----------
    entry, exit : str
        Tensors that enter and leave the layer, of shape (rows, parts) and (rows, units).
    weights, bias : ndarray of float64, shape (parts, units), (units,)
    part_feature : ndarray of int64, shape (parts,)
        Feature that each entry depends on; -1 if it is constant or has no weight.
    """

    entry: str
    exit: str
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    part_feature: NDArray[np.int64]


def follow(file: OnnxFile, width: int) -> dict[str, NDArray[np.bool_]]:
    """Return for each tensor what its entries can depend on.

    Parameters
    ----------
    file : OnnxFile
    width : int
        Number of inputs.

    Returns
    -------
    dict of str to ndarray of bool, shape (inputs, *shape of the tensor without its rows)
        The first axis stands where the tensor's rows stand. It is the only one for a tensor whose shape isn't followed.
    """
    found: dict[str, NDArray[np.bool_]] = {file.input: np.eye(width, dtype=bool)}
    for node in file.nodes:
        rule = _RULES.get(node.operator) if node.domain in ("", "ai.onnx.ml") else None
        if node.operator in _ALIKE and not node.domain:
            rule = _alike
        depends = None if rule is None else rule(node, found, file.constants)
        if depends is None:
            depends = np.zeros(width, bool)
            for name in node.inputs:
                if name in found:
                    depends |= _merge(found[name])
        for name in node.outputs:
            found[name] = depends
    return found


def find_heard(file: OnnxFile, found: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return which inputs the output can depend on, shape (inputs,)."""
    return _merge(found[file.output])


def find_mixing_layer(
    file: OnnxFile, found: Mapping[str, NDArray[np.bool_]], sources: NDArray[np.int64]
) -> MixingLayer | None:
    """Return the last linear layer that separates the features from the rest of the network, if there is one.

    Parameters
    ----------
    file : OnnxFile
    found : mapping
        Result of `follow`.
    sources : ndarray of int64, shape (inputs,)
        Feature of each input.
    """
    for node in reversed(file.nodes):
        layer = _read_linear(node, found, file.constants)
        if layer is None or not _separates(file, node.outputs[0]):
            continue
        weights, bias = layer
        depends = found[node.inputs[0]]
        part_feature = np.full(depends.shape[1], -1)
        for part in np.flatnonzero(weights.any(axis=1)):
            features = np.unique(sources[depends[:, part]])
            if len(features) > 1:
                break
            if len(features):
                part_feature[part] = features[0]
        else:
            return MixingLayer(node.inputs[0], node.outputs[0], weights, bias, part_feature)
    return None


def _read_linear(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return weights and bias of a linear layer of a matrix, shape (entries, units) and (units,)."""
    if node.operator != "Gemm" or node.domain or node.inputs[0] not in found or found[node.inputs[0]].ndim != 2:
        return None
    if any(name not in constants for name in node.inputs[1:]):
        return None
    marks = node.attributes
    if marks.get("transA", 0) or marks.get("alpha", 1.0) != 1.0 or marks.get("beta", 1.0) != 1.0:
        return None
    weights = constants[node.inputs[1]].astype(np.float64)
    weights = weights.T if marks.get("transB", 0) else weights
    bias = constants[node.inputs[2]].astype(np.float64) if len(node.inputs) > 2 else np.zeros(1)
    return weights, np.broadcast_to(bias.reshape(-1), weights.shape[1:])


def _separates(file: OnnxFile, tensor: str) -> bool:
    """Return whether nothing behind a tensor needs the network's input in another way."""
    wanted = {file.output}
    for node in reversed(file.nodes):
        if tensor not in node.outputs and wanted.intersection(node.outputs):
            wanted.update(node.inputs)
    return tensor in wanted and file.input not in wanted


def _merge(depends: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what a tensor depends on as a whole, shape (inputs,)."""
    return np.logical_or.reduce(depends.reshape(len(depends), -1), axis=1)  # type: ignore[no-any-return]


def _known(node: Node, found: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """Return what the first input depends on, if its shape is followed."""
    depends = found.get(node.inputs[0])
    return None if depends is None or depends.ndim == 1 else depends


def _alike(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_] | None:
    axes = max((found[name].ndim for name in node.inputs if name in found), default=0)
    if axes < 2:
        return None
    parts = []
    for name in filter(None, node.inputs):
        if name in found and found[name].ndim == axes:
            parts.append(found[name])
        # A constant of as many axes could repeat the rows.
        elif name in constants and constants[name].ndim < axes:
            parts.append(np.zeros(constants[name].shape, bool))
        else:
            return None
    mixed: NDArray[np.bool_] = np.logical_or.reduce(np.broadcast_arrays(*parts))
    return mixed


def _gemm(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_] | None:
    layer = _read_linear(node, found, constants)
    return None if layer is None else found[node.inputs[0]] @ (layer[0] != 0)


def _gather(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_] | None:
    depends = _known(node, found)
    if depends is None or node.attributes.get("axis", 0) != 1 or node.inputs[1] not in constants:
        return None
    return np.take(depends, constants[node.inputs[1]], axis=1)


def _concat(
    node: Node,
    found: Mapping[str, NDArray[np.bool_]],
    constants: Mapping[str, NDArray[Any]],  # noqa: ARG001  alike
) -> NDArray[np.bool_] | None:
    parts = [found.get(name) for name in node.inputs]
    known = [part for part in parts if part is not None and part.ndim > 1]
    axis = node.attributes.get("axis", 0)
    return np.concatenate(known, axis=axis) if len(known) == len(parts) and axis > 0 else None


def _unsqueeze(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_] | None:
    depends, axes = _known(node, found), constants.get(node.inputs[-1])
    if depends is None or axes is None or axes.size != 1 or axes.min() < 1:
        return None
    return np.expand_dims(depends, int(axes.reshape(-1)[0]))


def _reshape(
    node: Node, found: Mapping[str, NDArray[np.bool_]], constants: Mapping[str, NDArray[Any]]
) -> NDArray[np.bool_] | None:
    depends, shape = _known(node, found), constants.get(node.inputs[1])
    if depends is None or shape is None or shape[0] != -1 or shape[1:].prod() != depends[0].size:
        return None
    return depends.reshape(len(depends), *shape[1:])


def _trees(
    node: Node,
    found: Mapping[str, NDArray[np.bool_]],
    constants: Mapping[str, NDArray[Any]],  # noqa: ARG001  alike
) -> NDArray[np.bool_] | None:
    depends = _known(node, found)
    features, modes = node.attributes.get("nodes_featureids"), node.attributes.get("nodes_modes")
    if depends is None or not features or not modes:
        return None
    compared = {feature for feature, mode in zip(features, modes, strict=True) if mode != b"LEAF"}
    return _merge(depends[:, sorted(compared)])


_RULES: Mapping[str, Callable[..., NDArray[np.bool_] | None]] = {
    "Gemm": _gemm,
    "Gather": _gather,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "TreeEnsembleRegressor": _trees,
}
