"""Choose a share of the customers by a stable hash of the identifier."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_HASH_BYTES = 8
_HASHES = 2.0 ** (8 * _HASH_BYTES)
_HASH = hashlib.blake2b(digest_size=_HASH_BYTES, person=b"churn-canary")


def is_chosen(identifier: str | int | None, share: float) -> bool:
    """Return whether a customer belongs to a share, from 0 to 1.

    The choice depends on the identifier alone: it is the same in every process and after every restart, and a customer
    stays chosen if the share grows. 42 and ``"42"`` are the same customer; customers without identifier are not chosen.
    """
    return identifier is not None and _hash(str(identifier)) < share * _HASHES


def choose(identifiers: Iterable[str | int | None], share: float) -> NDArray[np.bool_]:
    """Return which of n customers belong to a share, as an array of bool of shape (n,); see `is_chosen`."""
    below = share * _HASHES
    return np.array([name is not None and _hash(str(name)) < below for name in identifiers], dtype=bool)


def _hash(text: str) -> int:
    found = _HASH.copy()  # half of the time of a new one
    found.update(text.encode())
    return int.from_bytes(found.digest(), "big")
