"""Read the nodes and constants of an ONNX file, and cut smaller networks out of it.

The package ``onnx`` is needed for training only. This reads the few fields of the format (protocol buffers) that
`churn.reasons.structure` needs; nodes and constants are copied as bytes, so that nothing of them is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import EngineError
from churn.reasons.protobuf import read_fields, read_name, read_numbers, write_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FLOAT32, _FLOAT64 = 1, 11
_DTYPES = {_FLOAT32: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", _FLOAT64: "<f8", 12: "<u4", 13: "<u8"}

_OF_ONE_INPUT = frozenset({"Identity", "Sigmoid", "Tanh", "Relu", "Neg"})
"""Functions of each entry by itself, whatever the shape."""

# Numbers of fields in onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12


@dataclass(frozen=True, slots=True)
class Node:
    """An operation of the network.

    Attributes
    ----------
    operator, domain : str
    inputs, outputs : tuple of str
        Names of tensors and constants; a name is empty if the input is left out.
    attributes : mapping of str to int, float, bytes or tuple of int
        Those of these types.
    data : bytes
        The node in the file.
    """

    operator: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    data: bytes


class OnnxFile:
    """Content of an ONNX file, in float32 where the file has float64.

    Reasons are sums over many thousand mixtures, each of which float32 gives to seven digits in half the time.

    Parameters
    ----------
    data : bytes

    Attributes
    ----------
    nodes : tuple of Node
        In an order in which they can be run.
    input, output : str
        Names of the only input and the first output.

    Raises
    ------
    EngineError
        If the data are not an ONNX file with one input.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._model = list(read_fields(data))
            graph = list(read_fields(next(value for field, value in self._model if field == _MODEL_GRAPH)))
            self._graph = graph
            self.nodes = tuple(_narrow_node(_read_node(value)) for field, value in graph if field == _GRAPH_NODE)
            stored = (_narrow_tensor(value) for field, value in graph if field == _GRAPH_INITIALIZER)
            self._stored = {read_name(value, 8): value for value in stored}
            inputs = [read_name(value, 1) for field, value in graph if field == _GRAPH_INPUT]
            (self.input,) = (name for name in inputs if name not in self._stored)
            self.output = next(read_name(value, 1) for field, value in graph if field == _GRAPH_OUTPUT)
        except (IndexError, StopIteration, UnicodeDecodeError, ValueError) as error:
            raise EngineError(f"the ONNX file can't be read: {error!r}") from error

    @cached_property
    def constants(self) -> Mapping[str, NDArray[Any]]:
        """Constants of the numeric types by name; others are left out."""
        found = {name: _read_tensor(value) for name, value in self._stored.items()}
        return {name: array for name, array in found.items() if array is not None}

    def whole(self, width: int) -> bytes:
        """Return the network as an ONNX file, with an input of shape (rows, `width`)."""
        return self.cut(self.input, width, self.output)

    def cut(self, start: str, start_width: int, end: str) -> bytes:
        """Return the network between two tensors as an ONNX file.

        Parameters
        ----------
        start : str
            Tensor that becomes the input, float32 of shape (rows, `start_width`).
        start_width : int
        end : str
            Tensor that becomes the output, float32.
        """
        return self._write(self._keep(start, end), {}, start, start_width, end)

    def cut_scores(self, start: str, start_width: int) -> bytes:
        """Return the network from a tensor to the output, which has one score for each row, as an ONNX file.

        The scores are in a row instead of a column if the network ends with a linear layer: ONNX Runtime multiplies a
        matrix by one column as if they were sixteen, and one row by the transposed matrix in a quarter of that time.

        Parameters
        ----------
        start, start_width
            As for `cut`.
        """
        kept = self._keep(start, self.output)
        place = self._find_last_layer(kept)
        if place is None:
            return self._write(kept, {}, start, start_width, self.output)
        node = kept[place]
        name = f"{node.inputs[1]}, in a row"
        weights = self.constants[node.inputs[1]].reshape(-1)
        # Numbers of fields in the messages TensorProto, AttributeProto and NodeProto.
        stored = write_fields([(1, 1), (1, len(weights)), (2, _FLOAT32), (8, name.encode()), (9, weights.tobytes())])
        mark = write_fields([(1, b"transB"), (3, 1), (20, 2)])
        texts = [(1, name), (1, node.inputs[0]), *((1, bias) for bias in node.inputs[2:]), (2, node.outputs[0])]
        data = [*((field, text.encode()) for field, text in texts), (4, b"Gemm"), (5, mark)]
        kept[place] = replace(
            node,
            inputs=(name, node.inputs[0], *node.inputs[2:]),
            attributes={"transB": 1},
            data=write_fields(data),
        )
        return self._write(kept, {name: stored}, start, start_width, self.output)

    def _keep(self, start: str, end: str) -> list[Node]:
        """Return the nodes between two tensors, in their order."""
        wanted, kept = {end}, []
        for node in reversed(self.nodes):
            if start not in node.outputs and wanted.intersection(node.outputs):
                kept.append(node)
                wanted.update(node.inputs)
        return kept[::-1]

    def _find_last_layer(self, kept: Sequence[Node]) -> int | None:
        """Return the place of the linear layer of one unit that is followed by functions of its output only, if any."""
        wanted = self.output
        for place in reversed(range(len(kept))):
            node = kept[place]
            if node.domain or node.outputs != (wanted,) or sum(wanted in other.inputs for other in kept) > 1:
                return None
            if node.operator == "Gemm":
                return place if self._is_single_unit(node) else None
            if node.operator not in _OF_ONE_INPUT or len(node.inputs) != 1:
                return None
            (wanted,) = node.inputs
        return None

    def _is_single_unit(self, node: Node) -> bool:
        if any(name not in self.constants for name in node.inputs[1:]):
            return False
        weights, *bias = (self.constants[name] for name in node.inputs[1:])
        is_plain = not node.attributes.get("transA") and all(node.attributes.get(k, 1) == 1 for k in ("alpha", "beta"))
        column = weights.shape[0 if node.attributes.get("transB") else 1]
        return is_plain and weights.dtype == np.float32 and column == 1 and all(array.size == 1 for array in bias)

    def _write(
        self, nodes: Sequence[Node], constants: Mapping[str, bytes], start: str, start_width: int, end: str
    ) -> bytes:  # fmt: skip
        """Return nodes with the constants that they use, and further ones, as an ONNX file."""
        wanted = {name for node in nodes for name in node.inputs} | {end}
        parts = [(_GRAPH_NODE, node.data) for node in nodes]
        stored = {**self._stored, **constants}
        parts += [(_GRAPH_INITIALIZER, value) for name, value in stored.items() if name in wanted]
        parts += [(2, b"part"), (_GRAPH_INPUT, _write_tensor_type(start, start_width)), (_GRAPH_OUTPUT,
                  _write_tensor_type(end, None))]  # fmt: skip
        rest = [(field, value) for field, value in self._model if field != _MODEL_GRAPH]
        return write_fields([*rest, (_MODEL_GRAPH, write_fields(parts))])


def _read_node(data: bytes) -> Node:
    fields = list(read_fields(data))

    def texts(wanted: int) -> tuple[str, ...]:
        return tuple(str(value, "utf-8") for field, value in fields if field == wanted)

    attributes = dict(_read_attribute(value) for field, value in fields if field == 5)
    return Node("".join(texts(4)), "".join(texts(7)), texts(1), texts(2), attributes, data)


def _read_attribute(data: bytes) -> tuple[str, Any]:
    fields = list(read_fields(data))
    by_number = {field: value for field, value in fields if field in (2, 3, 4)}
    value: Any = None
    if 3 in by_number:
        (value,) = read_numbers([by_number[3]])
    elif 2 in by_number:
        value = float(np.frombuffer(by_number[2], "<f4")[0])
    elif 4 in by_number:
        value = by_number[4]
    elif any(field == 8 for field, _ in fields):
        value = tuple(read_numbers([value for field, value in fields if field == 8]))
    elif any(field == 9 for field, _ in fields):
        value = tuple(value for field, value in fields if field == 9)
    return read_name(data, 1), value


def _read_tensor(data: bytes) -> NDArray[Any] | None:
    fields = list(read_fields(data))
    kinds = [value for field, value in fields if field == 2]
    raw = [value for field, value in fields if field == 9]
    if not kinds or kinds[0] not in _DTYPES or not raw:
        return None
    shape = tuple(read_numbers([value for field, value in fields if field == 1]))
    return np.frombuffer(raw[0], _DTYPES[kinds[0]]).reshape(shape)


def _narrow_node(node: Node) -> Node:
    """Return a node that casts to float32 if it casts to float64, or else the node itself."""
    if node.operator != "Cast" or node.domain or node.attributes.get("to") != _FLOAT64:
        return node
    to = write_fields([(1, b"to"), (3, _FLOAT32), (20, 2)])  # an attribute of type INT
    kept = [(field, value) for field, value in read_fields(node.data) if field != 5]
    return replace(node, attributes={"to": _FLOAT32}, data=write_fields([*kept, (5, to)]))


def _narrow_tensor(data: bytes) -> bytes:
    """Return a stored constant as float32 if it is float64, or else as it is."""
    fields = list(read_fields(data))
    if (2, _FLOAT64) not in fields:
        return data
    values = _read_tensor(data)
    if values is None:
        raise ValueError(f"constant {read_name(data, 8)} is not stored as raw data")
    narrow: dict[int, Any] = {2: _FLOAT32, 9: values.astype("<f4").tobytes()}
    return write_fields([(field, narrow.get(field, value)) for field, value in fields])


def _write_tensor_type(name: str, width: int | None) -> bytes:
    """Return the description of a tensor of float32, of shape (rows, width), or of any shape if `width` is None."""
    tensor: list[tuple[int, int | bytes]] = [(1, _FLOAT32)]
    if width is not None:
        sizes = [[(2, b"rows")], [(1, width)]]
        tensor.append((2, write_fields([(1, write_fields(size)) for size in sizes])))  # type: ignore[arg-type]
    return write_fields([(1, name.encode()), (2, write_fields([(1, write_fields(tensor))]))])
