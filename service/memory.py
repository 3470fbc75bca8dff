"""Memory: what the C library's allocator keeps, and what garbage collections look at."""

from __future__ import annotations

import ctypes
import gc
import sys

M_MMAP_THRESHOLD = -3
"""Parameter number in glibc's malloc.h."""

LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Return freed blocks of `LARGE_BYTES` or more to the system.

    By default glibc raises this threshold to the size of freed blocks, up to 32 MiB, and then keeps bodies and
    responses of several megabytes in the heap; see mallopt(3). Does nothing with other C libraries.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def freeze_heap() -> None:
    """Exclude all current objects from further garbage collections.

    They live as long as the process. Looking at them takes 50 ms and more, in which nothing is answered.
    """
    gc.collect()
    gc.freeze()
