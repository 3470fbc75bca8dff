"""The API keys that the service knows, read again when their file changes."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from service.guard.key_hash import matches, split_key
from service.guard.keys_file import KeysFileError, read_keys

if TYPE_CHECKING:
    from pathlib import Path

    from service.guard.keys_file import ApiKey

_NO_HASH = f"scrypt:{'0' * 32}:{'0' * 64}"
"""Compared with the secret of a key whose id is not known, at the same cost."""

_log = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int, int]


class KeyRing:
    """The keys of a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    KeysFileError
        If the file has faults.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = find_stamp(path)
        self._keys = {key.id: key for key in read_keys(path)}
        if path.stat().st_mode & 0o022:
            _log.warning("%s can be written to by other users, who could add keys to it", path)

    def __len__(self) -> int:
        return len(self._keys)

    def has_changed(self) -> bool:
        """Return whether the file has changed since it was read."""
        return find_stamp(self._path) != self._stamp

    def reload(self) -> None:
        """Read the file again.

        Raises
        ------
        KeysFileError
            If it has faults; the keys are those that were read before. A file that is missing, e.g. while its volume is
            mounted, has a fault.
        """
        self._stamp = find_stamp(self._path)
        self._keys = {key.id: key for key in read_keys(self._path)}

    def verify(self, sent: bytes) -> ApiKey | None:
        """Return the key that was sent; None if it is not known. Takes as long as one slow hash in any case."""
        parts = split_key(sent)
        found = None if parts is None else self._keys.get(parts.id)
        secret = sent if parts is None else parts.secret
        is_right = matches(secret, _NO_HASH if found is None else found.hash)
        return found if is_right else None

    def find_current(self, key: ApiKey) -> ApiKey | None:
        """Return what the file now says of a key whose secret was verified; None if it is no longer in the file."""
        current = self._keys.get(key.id)
        return current if current is not None and current.hash == key.hash else None

    def count_expired(self) -> int:
        """Return how many keys have expired."""
        now = datetime.now(UTC)
        return sum(key.has_expired(now) for key in self._keys.values())


def find_stamp(path: Path) -> Stamp | None:
    """Return what changes when a file is replaced, written to, or given to another user; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


__all__ = ["KeyRing", "KeysFileError", "find_stamp"]
