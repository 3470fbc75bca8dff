"""Parse the heads of messages in an Arrow stream, to find their boundaries and check them before pyarrow reads them.

Format: https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc. The head
of a message is a FlatBuffers table of `Message.fbs`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

SCHEMA, DICTIONARY, RECORD_BATCH = 1, 2, 3

_CONTINUATION = 0xFFFFFFFF
_PREFIX = struct.Struct("<Ii")


class MalformedError(Exception):
    """Bytes that are not a message of a stream."""


class Message(NamedTuple):
    """Head of a message.

    Attributes
    ----------
    kind : int
        `SCHEMA`, `DICTIONARY` or `RECORD_BATCH`; 0 at the end of the stream.
    size : int
        Size of the complete message in bytes.
    is_compressed : bool
        Whether the buffers are compressed.
    dictionary : int
        Identifier of the dictionary in the message.
    is_delta : bool
        Whether it extends the dictionary instead of replacing it.
    rows : int
        Number of rows, or of entries of the dictionary.
    """

    kind: int
    size: int
    is_compressed: bool = False
    dictionary: int = 0
    is_delta: bool = False
    rows: int = 0


def read_head(data: bytes | bytearray, max_head: int) -> Message | None:
    """Parse the head of the message at the start of `data`; None if it is incomplete.

    Raises
    ------
    MalformedError
        If there is no message, or its head has more than `max_head` bytes.
    """
    if len(data) < _PREFIX.size:
        return None
    mark, length = _PREFIX.unpack_from(data)
    if mark != _CONTINUATION or not 0 <= length <= max_head:
        raise MalformedError
    if not length:
        return Message(0, _PREFIX.size)
    if len(data) < _PREFIX.size + length:
        return None
    try:
        return _read_table(bytes(data[_PREFIX.size : _PREFIX.size + length]))
    except (struct.error, IndexError):
        raise MalformedError from None


def _read_table(head: bytes) -> Message:
    root = _number("<I", head, 0)
    kind, body, size = _field(head, root, 1), _field(head, root, 2), _field(head, root, 3)
    length = 0 if size is None else _number("<q", head, size)
    if kind is None or body is None or length < 0:
        raise MalformedError
    message = Message(head[kind], _PREFIX.size + len(head) + length)
    table = _follow(head, body)
    if message.kind == DICTIONARY:
        name, content, delta = (_field(head, table, number) for number in range(3))
        if content is None:
            raise MalformedError
        message = message._replace(
            dictionary=0 if name is None else _number("<q", head, name), is_delta=delta is not None and head[delta] != 0
        )
        table = _follow(head, content)
    if message.kind in (DICTIONARY, RECORD_BATCH):
        rows = _field(head, table, 0)
        message = message._replace(
            is_compressed=_field(head, table, 3) is not None, rows=0 if rows is None else _number("<q", head, rows)
        )
    return message


def _field(head: bytes, table: int, number: int) -> int | None:
    """Return the offset of a field in a FlatBuffers table; None if it has its default value."""
    fields = table - _number("<i", head, table)
    position = 4 + 2 * number
    offset = _number("<H", head, fields + position) if position < _number("<H", head, fields) else 0
    return table + offset if offset else None


def _follow(head: bytes, position: int) -> int:
    return position + _number("<I", head, position)


def _number(form: str, head: bytes, position: int) -> int:
    if position < 0:
        raise MalformedError
    number: int = struct.unpack_from(form, head, position)[0]
    return number
