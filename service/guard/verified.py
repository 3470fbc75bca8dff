"""Credentials that were checked, found again by a keyed hash: neither a secret nor what tells one is kept."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Checked(Generic[T]):
    """What was found out about credentials, the most recently used of them.

    Parameters
    ----------
    size : int
        Maximum number of credentials.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._found: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def find(self, digest: bytes) -> T | None:
        """Return what is known of a credential."""
        found = self._found.get(digest)
        if found is not None:
            self._found.move_to_end(digest)
        return found

    def keep(self, digest: bytes, found: T) -> None:
        """Remember what was found out; forget what was used least recently."""
        self._found[digest] = found
        self._found.move_to_end(digest)
        if len(self._found) > self._size:
            self._found.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        """Forget a credential."""
        self._found.pop(digest, None)

    def review(self, decide: Callable[[T], T | None]) -> None:
        """Replace what is known of each credential; forget it where `decide` returns None."""
        for digest, found in list(self._found.items()):
            current = decide(found)
            if current is None:
                del self._found[digest]
            else:
                self._found[digest] = current


_secret = secrets.token_bytes(32)


def digest_of(credential: bytes) -> bytes:
    """Return the hash that finds a credential again: with a secret of this process, so that nobody can compute it."""
    return blake2b(credential, key=_secret, digest_size=32).digest()
