"""API keys: their form, and the slow hash that is stored instead of their secret.

A key is ``churn_<id>_<secret>``: the id finds the stored hash, so that one hash is computed for a key that is sent, not
one for each that is stored. The parameters of the hash are the same for all keys: they can't tell an id that exists
from one that does not, and a file can't ask for more memory than one hash takes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from hmac import compare_digest
from typing import NamedTuple

PREFIX = "churn_"
ID_CHARACTERS = 8
SECRET_CHARACTERS = 43
"""62^43 is a little more than 2^256."""

COST, BLOCK_SIZE, PARALLEL = 2**14, 8, 1
"""Parameters of scrypt (RFC 7914): 16 MiB and some 40 ms for a hash."""

MAX_MEMORY = 64 * 2**20
SALT_BYTES = 16
HASH_BYTES = 32

HASH_FORM = rf"scrypt:[0-9a-f]{{{2 * SALT_BYTES}}}:[0-9a-f]{{{2 * HASH_BYTES}}}"
ID_FORM = rf"[0-9A-Za-z]{{{ID_CHARACTERS}}}"

_ALPHABET = string.digits + string.ascii_letters
_match_key = re.compile(rf"{PREFIX}({ID_FORM})_([0-9A-Za-z]{{{SECRET_CHARACTERS}}})".encode()).fullmatch


class KeyParts(NamedTuple):
    """An API key, taken apart."""

    id: str
    secret: bytes


def make_key() -> tuple[KeyParts, str]:
    """Return a new random key, taken apart and as a whole."""
    parts = KeyParts(_draw(ID_CHARACTERS), _draw(SECRET_CHARACTERS).encode())
    return parts, f"{PREFIX}{parts.id}_{parts.secret.decode()}"


def split_key(sent: bytes) -> KeyParts | None:
    """Take a key apart; None if it does not have the form of a key."""
    match = _match_key(sent)
    return None if match is None else KeyParts(match[1].decode(), match[2])


def hash_secret(secret: bytes) -> str:
    """Return a salted hash of a secret in the form of `HASH_FORM`; takes some 40 ms without the interpreter's lock."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"scrypt:{salt.hex()}:{_derive(secret, salt).hex()}"


def matches(secret: bytes, stored: str) -> bool:
    """Return whether a secret has the stored hash; takes the same time whether or not it has."""
    _, salt, digest = stored.split(":")
    return compare_digest(_derive(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def _draw(characters: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(characters))


def _derive(secret: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=COST, r=BLOCK_SIZE, p=PARALLEL, maxmem=MAX_MEMORY, dklen=HASH_BYTES)
