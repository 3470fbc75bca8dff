"""Standard input, read once, and standard output."""

from __future__ import annotations

import hashlib
import sys
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa


class HashedOutput:
    """A file that is written from its start to its end, hashed on its way.

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
        """SHA-256, in hex, of what was written."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Write some bytes."""
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Hand over what is held back."""
        self._file.flush()

    def close(self) -> None:
        """Leave it to the process."""


class StandardInput:
    """Standard input as a file that can be read from its start to its end, once; hashed on its way."""

    name: ClassVar[str] = "standard input"
    partitions: ClassVar[tuple[tuple[str, str | None], ...]] = ()
    can_reopen: ClassVar[bool] = False
    is_unchanged: ClassVar[bool] = True
    size: ClassVar[int] = 0
    """Not known before the end."""
    modified: ClassVar[int] = 0

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.read_bytes = 0

    def open(self) -> Any:  # noqa: ANN401  Arrow has no types for mypy
        """Open it, once."""
        return pa.PythonFile(self, mode="r")

    def describe(self) -> dict[str, Any]:
        """Return name, bytes and SHA-256 of what was read."""
        return {"name": self.name, "bytes": self.read_bytes, "sha256": self._hash.hexdigest()}

    # What Arrow asks of a file of Python's.
    closed = False

    def read(self, count: int = -1) -> bytes:
        """Read some bytes; none at the end."""
        data = sys.stdin.buffer.read(count)
        self._hash.update(data)
        self.read_bytes += len(data)
        return data

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from another byte."""
        return False

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self.read_bytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Leave it to the process."""
