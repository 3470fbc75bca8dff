"""The writer's side of a session's files."""

from __future__ import annotations

import os
import sys
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from records.locks import is_at
from records.messages import decode_frame
from records.spill import DAMAGED, FRAME_HEAD, SpillFile, list_files

if TYPE_CHECKING:
    from pathlib import Path

    from records.messages import Frame

_LARGEST = 1 << 30
"""Bytes that no frame has: a length above is damage, not the beginning of a frame whose end is missing."""


class SpillReader:
    """Reads the frames of a session in their order, while they are appended.

    Parameters
    ----------
    folder : Path
    session : str

    Attributes
    ----------
    is_over : bool
        Whether nothing more is appended.
    position : int
        Number of customers before what is read next.
    """

    def __init__(self, folder: Path, session: str, *, is_over: bool = False) -> None:
        self._folder = folder
        self._session = session
        self.is_over = is_over
        self._file: SpillFile | None = None
        self._last = -1  # customers before it
        self._descriptor = -1
        self._offset = self.position = 0

    def read(self) -> tuple[int, Frame] | None:
        """Return the next frame, and the number of customers before it in the session; None if none is whole yet.

        What a kill has left incomplete is left out, as if the kill had come earlier. A frame that was damaged since is
        kept with all that follows it in a file beside.
        """
        while self._file is not None or self._open_next():
            found = self._read_frame()
            if found is None:
                if not self._is_whole():
                    return None
                found = self._read_frame()  # it may have been appended just before the next file was begun
            if found is None:
                self._leave()
                continue
            size, frame = found
            self._offset += size
            self.position += frame.count
            return self.position - frame.count, frame
        return None

    def _read_frame(self) -> tuple[int, Frame] | None:
        """Return the next frame, and its size with its head; None if it is missing, incomplete or damaged."""
        length, checksum = self._read_head()
        if not length or self._offset + FRAME_HEAD.size + length > os.fstat(self._descriptor).st_size:
            return None
        data = os.pread(self._descriptor, length, self._offset + FRAME_HEAD.size)
        if zlib.crc32(data) != checksum:
            return None
        with suppress(msgspec.MsgspecError):  # of a program with other frames
            return FRAME_HEAD.size + length, decode_frame(data)
        return None

    def _read_head(self) -> tuple[int, int]:
        """Return length and checksum of the next frame; 0 and -1 if the head is missing or incomplete."""
        head = os.pread(self._descriptor, FRAME_HEAD.size, self._offset)
        return FRAME_HEAD.unpack(head) if len(head) == FRAME_HEAD.size else (0, -1)

    def _list_further(self) -> list[SpillFile]:
        if self._file is not None and not self._offset and not is_at(self._file.path, self._descriptor):
            self._last = self._file.first - 1  # it was removed without a frame, and may have been created again
        return [file for file in list_files(self._folder, self._session) if file.first > self._last]

    def _is_whole(self) -> bool:
        """Whether nothing more is appended to the present file."""
        return self.is_over or bool(self._list_further())

    def _open_next(self) -> bool:
        for file in self._list_further():
            try:
                self._descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # it was loaded before
                continue
            self._file, self._offset, self.position, self._last = file, 0, file.first, file.first
            return True
        return False

    def _leave(self) -> None:
        """Go on with the next file, whatever is left of this one."""
        assert self._file is not None  # noqa: S101  the caller has looked
        size = os.fstat(self._descriptor).st_size
        length, _ = self._read_head()
        end = self._offset + FRAME_HEAD.size + length
        if self._offset < size and (length > _LARGEST or end <= size):
            self._set_aside(self._file.path, size)
        self.drop()
        self._file = None

    def _set_aside(self, file: Path, size: int) -> None:
        """Keep what follows from a damaged frame on, and say so."""
        path = file.with_suffix(DAMAGED)
        data = os.pread(self._descriptor, size - self._offset, self._offset)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        print(  # noqa: T201  to the log
            f"{file}: damaged at byte {self._offset}; the {len(data)} bytes from there on, which can't be read, "
            f"are kept in {path}",
            file=sys.stderr,
        )

    def drop(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
