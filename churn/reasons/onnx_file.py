"""Read the nodes and constants of an ONNX file, and cut smaller networks out of it.

The package ``onnx`` is needed for training only. This reads the few fields of the format (protocol buffers) that
`churn.reasons.structure` needs; nodes and constants are copied as bytes, so that nothing of them is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT32 = 1
_DTYPES = {_FLOAT32: "<f4", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8"}

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
    """Content of an ONNX file.

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
            self._model = list(_read_fields(data))
            graph = list(_read_fields(next(value for field, value in self._model if field == _MODEL_GRAPH)))
            self._graph = graph
            self.nodes = tuple(_read_node(value) for field, value in graph if field == _GRAPH_NODE)
            self._stored = {_read_name(value, 8): value for field, value in graph if field == _GRAPH_INITIALIZER}
            inputs = [_read_name(value, 1) for field, value in graph if field == _GRAPH_INPUT]
            (self.input,) = (name for name in inputs if name not in self._stored)
            self.output = next(_read_name(value, 1) for field, value in graph if field == _GRAPH_OUTPUT)
        except (IndexError, StopIteration, UnicodeDecodeError, ValueError) as error:
            raise EngineError(f"the ONNX file can't be read: {error!r}") from error

    @cached_property
    def constants(self) -> Mapping[str, NDArray[Any]]:
        """Constants of the numeric types by name; others are left out."""
        found = {name: _read_tensor(value) for name, value in self._stored.items()}
        return {name: array for name, array in found.items() if array is not None}

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
        wanted, kept = {end}, []
        for node in reversed(self.nodes):
            if start not in node.outputs and wanted.intersection(node.outputs):
                kept.append(node)
                wanted.update(node.inputs)
        parts = [(_GRAPH_NODE, node.data) for node in reversed(kept)]
        parts += [(_GRAPH_INITIALIZER, value) for name, value in self._stored.items() if name in wanted]
        parts += [(2, b"part"), (_GRAPH_INPUT, _write_tensor_type(start, start_width)), (_GRAPH_OUTPUT,
                  _write_tensor_type(end, None))]  # fmt: skip
        rest = [(field, value) for field, value in self._model if field != _MODEL_GRAPH]
        return _write_fields([*rest, (_MODEL_GRAPH, _write_fields(parts))])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _read_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number of each field with its value: an int, or bytes."""
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield key >> 3, value
            continue
        if kind not in (_BYTES, _FIXED32, _FIXED64):
            raise ValueError(f"unknown kind of field {kind}")
        size = {_FIXED32: 4, _FIXED64: 8}.get(kind, 0)
        if kind == _BYTES:
            size, place = _read_varint(data, place)
        if place + size > len(data):
            raise ValueError("the file is cut off")
        yield key >> 3, data[place : place + size]
        place += size


def _read_name(data: bytes, wanted: int) -> str:
    return str(next((value for field, value in _read_fields(data) if field == wanted), b""), "utf-8")


def _read_numbers(values: Sequence[int | bytes]) -> Iterator[int]:
    """Yield whole numbers that are stored one by one or packed."""
    for value in values:
        if isinstance(value, int):
            yield value - (1 << 64 if value >> 63 else 0)
            continue
        place = 0
        while place < len(value):
            number, place = _read_varint(value, place)
            yield number - (1 << 64 if number >> 63 else 0)


def _read_node(data: bytes) -> Node:
    fields = list(_read_fields(data))

    def texts(wanted: int) -> tuple[str, ...]:
        return tuple(str(value, "utf-8") for field, value in fields if field == wanted)

    attributes = dict(_read_attribute(value) for field, value in fields if field == 5)
    return Node("".join(texts(4)), "".join(texts(7)), texts(1), texts(2), attributes, data)


def _read_attribute(data: bytes) -> tuple[str, Any]:
    fields = list(_read_fields(data))
    by_number = {field: value for field, value in fields if field in (2, 3, 4)}
    value: Any = None
    if 3 in by_number:
        (value,) = _read_numbers([by_number[3]])
    elif 2 in by_number:
        value = float(np.frombuffer(by_number[2], "<f4")[0])
    elif 4 in by_number:
        value = by_number[4]
    elif any(field == 8 for field, _ in fields):
        value = tuple(_read_numbers([value for field, value in fields if field == 8]))
    elif any(field == 9 for field, _ in fields):
        value = tuple(value for field, value in fields if field == 9)
    return _read_name(data, 1), value


def _read_tensor(data: bytes) -> NDArray[Any] | None:
    fields = list(_read_fields(data))
    kinds = [value for field, value in fields if field == 2]
    raw = [value for field, value in fields if field == 9]
    if not kinds or kinds[0] not in _DTYPES or not raw:
        return None
    shape = tuple(_read_numbers([value for field, value in fields if field == 1]))
    return np.frombuffer(raw[0], _DTYPES[kinds[0]]).reshape(shape)


def _write_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _write_fields(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    out = bytearray()
    for field, value in fields:
        if isinstance(value, int):
            out += _write_varint(field << 3 | _VARINT) + _write_varint(value)
        else:
            out += _write_varint(field << 3 | _BYTES) + _write_varint(len(value)) + value
    return bytes(out)


def _write_tensor_type(name: str, width: int | None) -> bytes:
    """Return the description of a tensor of float32, of shape (rows, width), or of any shape if `width` is None."""
    tensor: list[tuple[int, int | bytes]] = [(1, _FLOAT32)]
    if width is not None:
        sizes = [[(2, b"rows")], [(1, width)]]
        tensor.append((2, _write_fields([(1, _write_fields(size)) for size in sizes])))  # type: ignore[arg-type]
    return _write_fields([(1, name.encode()), (2, _write_fields([(1, _write_fields(tensor))]))])
