"""Hashes of the files that are read, computed while they are scored."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from batch.files.locations import InputFile
    from batch.files.standard_streams import StandardInput

_BYTES = 4 << 20


@contextmanager
def hashing(files: Sequence[InputFile | StandardInput]) -> Iterator[Future[list[dict[str, Any]]]]:
    """Compute name, size and SHA-256 of each file on a separate thread while the block runs; yield the future result.

    Standard input is excluded, because it computes its own hash.
    """
    stop = Event()
    with ThreadPoolExecutor(1, "hash") as thread:
        future = thread.submit(lambda: [_describe(file, stop) for file in files if file.can_reopen])
        try:
            yield future
        finally:
            stop.set()


def _describe(file: InputFile | StandardInput, stop: Event) -> dict[str, Any]:
    digest, count = hashlib.sha256(), 0
    with file.open() as opened:
        while not stop.is_set() and (data := opened.read(_BYTES)):
            digest.update(data)
            count += len(data)
    return {"name": file.name, "bytes": count, "sha256": digest.hexdigest()}
