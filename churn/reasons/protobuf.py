"""Read and write messages of protocol buffers, as lists of their fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


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


def read_fields(data: bytes) -> Iterator[tuple[int, Any]]:
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


def read_name(data: bytes, wanted: int) -> str:
    """Return the first text of a field, or an empty one."""
    return str(next((value for field, value in read_fields(data) if field == wanted), b""), "utf-8")


def read_numbers(values: Sequence[int | bytes]) -> Iterator[int]:
    """Yield whole numbers that are stored one by one or packed."""
    for value in values:
        if isinstance(value, int):
            yield value - (1 << 64 if value >> 63 else 0)
            continue
        place = 0
        while place < len(value):
            number, place = _read_varint(value, place)
            yield number - (1 << 64 if number >> 63 else 0)


def _write_varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def write_fields(fields: Sequence[tuple[int, int | bytes]]) -> bytes:
    """Return a message of fields, each a number and an int or bytes."""
    out = bytearray()
    for field, value in fields:
        if isinstance(value, int):
            out += _write_varint(field << 3 | _VARINT) + _write_varint(value)
        else:
            out += _write_varint(field << 3 | _BYTES) + _write_varint(len(value)) + value
    return bytes(out)
