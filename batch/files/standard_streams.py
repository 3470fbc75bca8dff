"""Standard input and standard output as files."""

from __future__ import annotations

import hashlib
import sys
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa


class HashedOutput:
    """A sequential output file that computes its hash.

    Parameters
    ----------
    file : binary file
    """

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes."""
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the underlying file."""
        self._file.flush()

    def close(self) -> None:
        """Do nothing; the stream is closed with the process."""


class StandardInput:
    """Standard input as a file that can be read once, sequentially; computes its hash."""

    name: ClassVar[str] = "standard input"
    partitions: ClassVar[tuple[tuple[str, str | None], ...]] = ()
    can_reopen: ClassVar[bool] = False
    is_unchanged: ClassVar[bool] = True
    size: ClassVar[int] = 0
    """Unknown before the end."""
    modified: ClassVar[int] = 0

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.read_bytes = 0

    def open(self) -> Any:  # noqa: ANN401  Arrow has no types for mypy
        """Open the file; allowed once."""
        return pa.PythonFile(self, mode="r")

    def describe(self) -> dict[str, Any]:
        """Return name, size in bytes and SHA-256 of the data read."""
        return {"name": self.name, "bytes": self.read_bytes, "sha256": self._hash.hexdigest()}

    # The methods that pyarrow requires of a Python file.
    closed = False

    def read(self, count: int = -1) -> bytes:
        """Read at most `count` bytes; returns no bytes at the end."""
        data = sys.stdin.buffer.read(count)
        self._hash.update(data)
        self.read_bytes += len(data)
        return data

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return False."""
        return False

    def tell(self) -> int:
        """Return the number of bytes read."""
        return self.read_bytes

    def flush(self) -> None:
        """Do nothing; there is no buffer."""

    def close(self) -> None:
        """Do nothing; the stream is closed with the process."""
