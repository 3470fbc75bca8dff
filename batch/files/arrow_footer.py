"""Parse the footer of an Arrow IPC file, which locates its batches."""

from __future__ import annotations

import os
import struct
from typing import Any

UNREAD_BYTES = 256
"""Maximum number of bytes between the last batch and the footer: an end marker and padding."""


def measure_unread(file: Any) -> int:  # noqa: ANN401  Arrow has no types for mypy
    """Return the number of bytes between the last batch of an Arrow IPC file and its footer.

    The footer is a flatbuffer, whose fields 2 and 3 are vectors of blocks: offset, and lengths of metadata and body.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 10)
    (length,) = struct.unpack("<i", file.read(4))
    file.seek(size - 10 - length)
    footer = file.read(length)
    (root,) = struct.unpack_from("<I", footer)
    table = root - struct.unpack_from("<i", footer, root)[0]
    ends = [0]
    for field in (2, 3):
        place = table + 4 + 2 * field
        if 2 * field + 4 >= struct.unpack_from("<H", footer, table)[0] or not (
            offset := struct.unpack_from("<H", footer, place)[0]
        ):
            continue  # no dictionaries, or no batches
        vector = root + offset + struct.unpack_from("<I", footer, root + offset)[0]
        (count,) = struct.unpack_from("<I", footer, vector)
        ends += [sum(block) for block in struct.iter_unpack("<qi4xq", footer[vector + 4 : vector + 4 + 24 * count])]
    return int(size - 10 - length - max(ends)) if max(ends) else 0
