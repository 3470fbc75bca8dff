"""Buffer for the unsent part of a response, in memory and then in a temporary file."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import deque
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.tables.blocks import ResponsePart

_log = logging.getLogger(__name__)


class Budget:
    """Limits and current use of memory and files for the held responses of one worker.

    Parameters
    ----------
    memory_limit, file_limit : int
        Limits in bytes.

    Attributes
    ----------
    memory, files : int
        Bytes currently held by all responses.
    """

    def __init__(self, memory_limit: int, file_limit: int) -> None:
        self.memory_limit = memory_limit
        self.file_limit = file_limit
        self.memory = 0
        self.files = 0

    @property
    def is_filling(self) -> bool:
        """Whether a quarter of the memory is used. Below that, compressing costs more time than room is worth."""
        return 4 * self.memory >= self.memory_limit

    @property
    def is_exceeded(self) -> bool:
        """Whether the memory limit is exceeded, which happens only if the files are full as well."""
        return self.memory > self.memory_limit


class _Stored(NamedTuple):
    """A block stored in the file; `block` has no data."""

    block: ResponsePart
    offset: int
    length: int


class Spool:
    """FIFO queue of the blocks of one response.

    Parameters
    ----------
    budget : Budget
    run : callable
        Runs a blocking function in a thread.

    Attributes
    ----------
    size : int
        Total uncompressed size in bytes of all blocks added.
    memory, files : int
        Bytes currently held.
    """

    def __init__(self, budget: Budget, run: Callable[..., Awaitable[Any]]) -> None:
        self._budget = budget
        self._run = run
        self._blocks: deque[ResponsePart | _Stored] = deque()
        self._file: IO[bytes] | None = None
        self._stored = 0  # number of blocks in the file
        self._has_disk = budget.file_limit > 0
        self.size = self.memory = self.files = 0

    def __len__(self) -> int:
        return len(self._blocks)

    async def put(self, block: ResponsePart) -> None:
        """Add a block; it is kept in memory if both limits are reached (see `Budget.is_exceeded`)."""
        self.size += block.size
        length = len(block.data)
        budget = self._budget
        if (
            budget.memory + length > budget.memory_limit
            and self._has_disk
            and budget.files + length <= budget.file_limit
        ):
            offset = self.files
            self.files += length
            budget.files += length
            self._stored += 1
            try:
                await self._run(self._write, block.data, offset)
            except OSError as error:
                _log.warning("a response can't be held on disk: %s", error)
                self._has_disk = False
                self._stored -= 1
                self.files -= length
                budget.files -= length
            else:
                self._blocks.append(_Stored(block._replace(data=b""), offset, length))
                return
        self.memory += length
        budget.memory += length
        self._blocks.append(block)

    async def take(self) -> bytes:
        """Remove the oldest block and return it uncompressed."""
        block = self._blocks.popleft()
        if isinstance(block, _Stored):
            data = await self._run(self._read, block.offset, block.length)
            self._stored -= 1
            if not self._stored:
                self._free_file()
            return block.block._replace(data=data).unpack()
        self.memory -= len(block.data)
        self._budget.memory -= len(block.data)
        return block.unpack()

    async def close(self) -> None:
        """Discard all blocks."""
        self._blocks.clear()
        self._budget.memory -= self.memory
        self.memory = 0
        self._free_file()
        if self._file is not None:
            await self._run(self._file.close)  # in the thread, after a block that may still be written

    def _write(self, data: bytes, offset: int) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="churn-response-", buffering=0)  # noqa: SIM115  `close` closes it
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[written:], offset + written

    def _read(self, offset: int, length: int) -> bytes:
        if self._file is None:
            raise ValueError("nothing is stored")
        return os.pread(self._file.fileno(), length, offset)

    def _free_file(self) -> None:
        """Reuse the file from its start, since none of its blocks is needed any more."""
        self._budget.files -= self.files
        self.files = self._stored = 0
