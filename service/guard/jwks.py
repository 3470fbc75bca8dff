"""The public keys of the identity provider (JWKS, RFC 7517): a file, or a URL that is asked again from time to time.

Unknown key identifiers cause at most one request in `FLOOR_SECONDS`, so that tokens with random ones can't make the
service flood the provider. The last keys are kept while the provider can't be reached.
"""

from __future__ import annotations

import json
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from churn.errors import ChurnError
from churn.runtime.files import open_regular
from service.guard.key_ring import find_stamp
from service.guard.timed_fetch import fetch
from service.settings import JWT_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FLOOR_SECONDS = 10.0
"""Minimum time between two requests to the provider."""

REFRESH_SECONDS = 300.0
"""Time after which the keys are requested again, so that withdrawn ones are no longer accepted."""

FETCH_SECONDS = 5.0
"""Maximum time for connecting to the provider, and for its answer."""

MAX_BYTES = 2**20
"""Maximum size of the file, or of the answer with its head."""

MAX_KEYS = 100

_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

FAMILIES = {name: _TYPES[name[:2]] for name in JWT_ALGORITHMS}
"""Type of the keys of each algorithm."""

Jwk = dict[str, Any]


class JwksError(ChurnError):
    """The keys of the identity provider can't be read."""


class KeySource:
    """Keys by identifier. Its methods block; call them in a thread.

    Parameters
    ----------
    location : str
        URL, or path of a file.
    clock : callable, optional
        Returns the time in seconds; `time.monotonic` by default.
    """

    def __init__(self, location: str, clock: Callable[[], float] = monotonic) -> None:
        self._location = location
        self._path = None if "://" in location else Path(location)
        self._clock = clock
        self._tried = float("-inf")
        self._stamp: object = None
        self._keys: Mapping[str | None, Jwk] = {}
        self.fault = ""

    @property
    def is_remote(self) -> bool:
        """Whether the keys come from a URL."""
        return self._path is None

    @property
    def is_empty(self) -> bool:
        """Whether no keys were read yet."""
        return not self._keys

    def find(self, identifier: str | None) -> Jwk | None:
        """Return the key with an identifier; a token without one means the only key."""
        if identifier is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(identifier)

    def has(self, key: object) -> bool:
        """Return whether a key is still one of them, unchanged."""
        return any(key == current for current in self._keys.values())

    def is_due(self, *, is_wanted: bool = False) -> bool:
        """Return whether the keys are to be read again; `is_wanted` tells that a key was not found."""
        if self._path is not None:
            return find_stamp(self._path) != self._stamp
        return self._clock() >= self._tried + (FLOOR_SECONDS if is_wanted or self.fault else REFRESH_SECONDS)

    def read(self) -> bool:
        """Read the keys again; return whether they have changed.

        Raises
        ------
        JwksError
            If they can't be read; those that were read before are kept.
        """
        self._tried = self._clock()
        try:
            if self._path is not None:
                self._stamp = find_stamp(self._path)
                with open_regular(self._path) as file:
                    keys = parse_keys(file.read(MAX_BYTES + 1))
            else:
                keys = parse_keys(fetch(self._location, FETCH_SECONDS, MAX_BYTES))
        except (OSError, ValueError, RecursionError, HTTPException, JwksError) as error:
            self.fault = f"{self._location}: {getattr(error, 'strerror', None) or error}"
            raise JwksError(self.fault) from None
        self.fault = ""
        has_changed, self._keys = keys != self._keys, keys
        return has_changed


def parse_keys(data: bytes) -> dict[str | None, Jwk]:
    """Return the keys that can verify signatures, by identifier.

    Raises
    ------
    JwksError
        If there is none, or the data are not a key set.
    """
    if len(data) > MAX_BYTES:
        raise JwksError(f"has more than {MAX_BYTES} bytes")
    content = json.loads(data)
    entries = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise JwksError(f"is not a key set with at most {MAX_KEYS} keys")
    keys: dict[str | None, Jwk] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("kty") not in FAMILIES.values():
            continue  # a secret key verifies nothing here
        if entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid", ""), str):
            continue
        if entry.get("kid") in keys:
            raise JwksError(f"has two keys with the identifier {entry.get('kid')!r}")
        keys[entry.get("kid")] = entry
    if not keys:
        raise JwksError(f"has no key of the types {', '.join(sorted({*FAMILIES.values()}))}")
    return keys
