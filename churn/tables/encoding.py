"""Decode the bytes of a text table to UTF-8 without byte-order mark, and say what to do with other encodings."""

from __future__ import annotations

import codecs
import shlex
from typing import TYPE_CHECKING, Any

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_MARK = 4
"""Byte-order marks and their encodings."""

NOT_UTF8 = "is not UTF-8 text"
"""Reason for a cell that can't be decoded."""

UNREADABLE = "\ufffd"
"""Character in place of bytes that can't be decoded."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is a prefix of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class NotUtf8Error(TableError):
    """A table that is not UTF-8."""


def advise_conversion(path: Path | None = None) -> str:
    """Return the next step for a table that is not UTF-8; with its path, if it has one, as a command to paste."""
    command = "iconv -f WINDOWS-1252 -t UTF-8"
    if path is not None:
        converted = path.with_name(f"{path.stem}-utf8{path.suffix}")
        command += f" {shlex.quote(str(path))} > {shlex.quote(str(converted))}"
    return f"The file is not UTF-8, perhaps Latin-1 or Windows-1252, as Excel writes; convert it: {command}"


def find_encoding(head: bytes) -> tuple[str, int]:
    """Return the encoding of a table by its first bytes, and the length of the byte-order mark.

    Raises
    ------
    TableError
        If the encoding is not supported.
    """
    mark, name = next(((mark, name) for mark, name in _MARKS.items() if head.startswith(mark)), (b"", "utf-8"))
    if name == "utf-32" or (not mark and b"\0" in head):
        found = "UTF-32" if mark else "UTF-16 without a byte-order mark, or no text"
        raise TableError(f"it is {found}; allowed: UTF-8, or UTF-16 with a byte-order mark")
    return name, len(mark)


def make_recoder(encoding: str) -> Callable[[bytes, bool], bytes]:
    """Return an incremental converter to UTF-8, called with bytes and whether they are the last.

    Invalid bytes become U+FFFD.
    """
    if encoding == "utf-8":
        return lambda data, last: data  # noqa: ARG005
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    return lambda data, last: decoder.decode(data, last).encode("utf-8", "replace")


class TextStream:
    """A stream of bytes converted to UTF-8 without byte-order mark.

    Parameters
    ----------
    stream : binary file
        Positioned at its start. May return fewer bytes than requested, like a pipe.

    Attributes
    ----------
    skipped : int
        Length of the byte-order mark.
    is_recoded : bool
        Whether the bytes are converted.

    Raises
    ------
    TableError
        If the encoding is not supported.
    """

    def __init__(self, stream: Any) -> None:  # noqa: ANN401  a stream of Arrow or Python
        self._stream = stream
        head = _read(stream, LONGEST_MARK)
        encoding, self.skipped = find_encoding(head)
        self.is_recoded = encoding != "utf-8"
        self._recode = make_recoder(encoding)
        self._waiting = self._recode(head[self.skipped :], len(head) < LONGEST_MARK)

    def read(self, count: int) -> bytes:
        """Read `count` bytes, or fewer at the end."""
        while len(self._waiting) < count:
            data = _read(self._stream, count - len(self._waiting))
            self._waiting += self._recode(data, not data)
            if not data:
                break
        data, self._waiting = self._waiting[:count], self._waiting[count:]
        return data

    def seek(self, position: int) -> None:
        """Seek to an offset after the byte-order mark; only for streams in UTF-8."""
        self._stream.seek(self.skipped + position)
        self._waiting = b""

    def skip(self, count: int) -> None:
        """Read and discard bytes."""
        while count and (data := self.read(min(count, 1 << 22))):
            count -= len(data)


def _read(stream: Any, count: int) -> bytes:  # noqa: ANN401
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def is_utf8(data: bytes) -> bool:
    """Return whether all of some bytes can be decoded."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
