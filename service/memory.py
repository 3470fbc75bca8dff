"""Memory of the C library's heap, which a large request would otherwise enlarge for good."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3
"""glibc's malloc.h."""

LARGE_BYTES = 1 << 20


def return_large_blocks() -> None:
    """Have blocks of `LARGE_BYTES` and more given back to the system when they are freed.

    glibc raises that size by itself, up to 32 MiB, at the first large block that is freed; from then on bodies and
    answers of megabytes stay in the heap (mallopt(3)). Does nothing where there is another C library.
    """
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
