"""The elements of input tensors of the Open Inference Protocol, in JSON or binary. Independent of HTTP."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from churn.columns import encode_columns
from churn.errors import InvalidCustomersError
from churn.names import ALLOWED_IDENTIFIER
from service.errors import Problem, shorten
from service.predict.parse import is_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
INTEGERS = {f"{sign}{bits}": f"<{code}{bits // 8}" for sign, code in (("INT", "i"), ("UINT", "u"))
            for bits in (8, 16, 32, 64)}  # fmt: skip
NUMBERS: Mapping[str, str] = {**FLOATS, **INTEGERS}
ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "number": tuple(NUMBERS),
    "integer": tuple(NUMBERS),
    "flag": ("BOOL", "BYTES", *NUMBERS),
    "category": ("BYTES",),
    "date": ("BYTES",),
}
"""Accepted datatypes by kind of feature."""

_LENGTH = struct.Struct("<I")


class Tensor(msgspec.Struct):
    """An input tensor of a request, with its elements in `data` or in the binary part."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET


class SentTensors(NamedTuple):
    """Tensors with one element per customer, by name.

    Attributes
    ----------
    tensors : mapping of str to Tensor
    binary : mapping of str to memoryview
        Their elements, if they were sent as binary data.
    rows : int
        Number of customers.
    """

    tensors: Mapping[str, Tensor]
    binary: Mapping[str, memoryview]
    rows: int

    def encode(self, schema: Schema) -> NDArray[np.float64]:
        """Return the raw matrix.

        Raises
        ------
        Problem
            400 if the data are not what a tensor says.
        InvalidCustomersError
            If values can't be scored.
        """
        columns: dict[str, Any] = {}
        for feature in schema.features:
            tensor = self.tensors.get(feature.name)
            if tensor is None:
                columns[feature.name] = _absent(feature, self.rows)
            elif tensor.datatype == "BYTES":
                texts = _read_texts(tensor, self.binary.get(feature.name), self.rows)
                columns[feature.name] = [text or None for text in texts] if feature.nullable else texts
            else:
                columns[feature.name] = _read_numbers(tensor, self.binary.get(feature.name), self.rows)
        return encode_columns(schema, columns)

    def encode_again(self, schema: Schema) -> NDArray[np.float64] | None:
        """Return the raw matrix with another schema; None if one of the customers is not valid there."""
        for feature in schema.features:
            tensor = self.tensors.get(feature.name)
            if not feature.nullable if tensor is None else tensor.datatype not in ACCEPTED[feature.kind]:
                return None
        try:
            return self.encode(schema)
        except (InvalidCustomersError, Problem):
            return None


def read_identifiers(tensor: Tensor, binary: memoryview | None, rows: int) -> list[str | int | None] | None:
    """Return the identifiers of the customers; None if none was sent.

    Raises
    ------
    Problem
        400 if the tensor has other data.
    """
    if tensor.datatype == "BYTES":
        found: list[Any] = [text or None for text in _read_texts(tensor, binary, rows)]
        if not all(is_identifier(text) for text in found if text is not None):
            raise wrong_tensor(tensor, "texts with half of a surrogate pair")
    elif tensor.datatype in INTEGERS:
        found = _read_binary(tensor, binary, rows).tolist() if binary is not None else _read_typed(tensor, rows)
        if not all(is_identifier(number) for number in found if number is not None):
            raise wrong_tensor(tensor, f"an element that is no identifier; allowed: {ALLOWED_IDENTIFIER}")
    else:
        raise wrong_tensor(tensor, f"datatype {shorten(tensor.datatype)!r}; allowed: BYTES, {', '.join(INTEGERS)}")
    return found if any(name is not None for name in found) else None


def _absent(feature: Feature, rows: int) -> Any:  # noqa: ANN401  a column for encode_columns
    return [None] * rows if feature.is_text else np.full(rows, np.nan)


def _read_numbers(tensor: Tensor, binary: memoryview | None, rows: int) -> NDArray[Any] | list[Any]:
    """Return a tensor of numbers or booleans as a column for `encode_columns`."""
    if binary is not None:
        return _read_binary(tensor, binary, rows)
    elements = _read_typed(tensor, rows)
    try:
        return np.array(elements, dtype=np.float64)  # None becomes NaN
    except OverflowError:  # too large for a float; the slow path reports the value
        return elements


def _read_binary(tensor: Tensor, binary: memoryview, rows: int) -> NDArray[Any]:
    """Return the elements of a tensor of numbers or booleans."""
    dtype = NUMBERS.get(tensor.datatype, "u1")
    if len(binary) != rows * np.dtype(dtype).itemsize:
        raise wrong_tensor(tensor, f"{len(binary)} bytes of binary data for {rows} elements")
    values = np.frombuffer(binary, dtype)
    if tensor.datatype == "BOOL" and (values > 1).any():
        raise wrong_tensor(tensor, "binary data other than 0 and 1")
    return values


def _read_typed(tensor: Tensor, rows: int) -> list[Any]:
    """Return the elements of a JSON tensor of numbers or booleans."""
    elements = _read_elements(tensor, rows)
    allowed = {int} if tensor.datatype in INTEGERS else {int, float} if tensor.datatype in FLOATS else {bool}
    if not set(map(type, elements)) <= allowed | {type(None)}:
        raise wrong_tensor(tensor, f"data that are not {tensor.datatype}")
    return elements


def _read_texts(tensor: Tensor, binary: memoryview | None, rows: int) -> list[Any]:
    """Return a BYTES tensor as strings."""
    if binary is None:
        elements = _read_elements(tensor, rows)
        if not set(map(type, elements)) <= {str, type(None)}:
            raise wrong_tensor(tensor, "data that are not strings")
        return elements
    try:
        texts = _split_texts(bytes(binary))
    except (struct.error, UnicodeDecodeError):
        raise wrong_tensor(tensor, "binary data that are not UTF-8 strings, each after its length in 4 bytes") from None
    if len(texts) != rows:
        raise wrong_tensor(tensor, f"{len(texts)} elements, but a shape of {rows}")
    return texts


def _split_texts(data: bytes) -> list[str]:
    texts, start, size, read_length = [], 0, len(data), _LENGTH.unpack_from
    while start < size:
        end = start + 4 + read_length(data, start)[0]
        texts.append(data[start + 4 : end].decode())
        start = end
    if start != size:
        raise struct.error("the last element is truncated")
    return texts


def _read_elements(tensor: Tensor, rows: int) -> list[Any]:
    """Return the elements of a JSON tensor, flat or nested with shape [n, 1]."""
    elements: Any = tensor.data
    if elements and len(tensor.shape) > 1 and all(type(row) is list and len(row) == 1 for row in elements):
        elements = list(chain.from_iterable(elements))
    if len(elements) != rows:
        raise wrong_tensor(tensor, f"{len(elements)} elements, but a shape of {rows}")
    flat: list[Any] = elements
    return flat


def wrong_tensor(tensor: Tensor, what: str) -> Problem:
    """Return the error for a tensor that has something wrong."""
    return invalid_tensors(f"input {shorten(tensor.name)!r} has {what}")


def invalid_tensors(detail: str) -> Problem:
    """Return the error for tensors that don't match the protocol or the model."""
    return Problem(400, "invalid-tensors", "Invalid tensors", detail)
