"""Ed25519 keys: private ones that sign model versions, public ones that are trusted. `cryptography` is imported late.

A key is named by the first 16 hexadecimal digits of the SHA-256 of its public key (DER, SubjectPublicKeyInfo)::

    openssl pkey -pubin -in key.pub -outform DER | sha256sum | cut -c 1-16
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from churn.errors import KeyFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ID_DIGITS = 16
MAX_KEY_BYTES = 2**16
"""Larger files are not key files: a public key takes 113 bytes."""

_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----\s.*?-----END PUBLIC KEY-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----")


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Public keys whose signatures are trusted.

    Attributes
    ----------
    keys : mapping of str to bytes
        The raw keys, 32 bytes each, by identifier; at least one.
    """

    keys: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not self.keys:
            raise KeyFileError("no key is trusted; at least one is needed")

    def verify(self, identifier: str, signature: bytes, message: bytes) -> bool:
        """Return whether a signature of a message is by this key; raises KeyError if the key isn't trusted."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.keys[identifier]).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key.

    Parameters
    ----------
    key : cryptography's Ed25519PrivateKey

    Attributes
    ----------
    identifier : str
    public : bytes
        The raw public key, 32 bytes.
    """

    def __init__(self, key: Any) -> None:  # noqa: ANN401  cryptography is imported late
        self._key = key
        self.identifier, self.public = _identify(key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        signature: bytes = self._key.sign(message)
        return signature


def write_key_pair(path: Path) -> str:
    """Make a key pair and write it to two new files.

    Parameters
    ----------
    path : Path
        File of the private key, in PEM, which only this user can read. The public key gets the same name with ``.pub``
        appended.

    Returns
    -------
    str
        Identifier of the key.

    Raises
    ------
    KeyFileError
        If one of the files exists or can't be written; nothing is overwritten.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    public_path = path.with_name(f"{path.name}.pub")
    if os.path.lexists(public_path):
        raise KeyFileError(f"{public_path}: exists already; a key is never overwritten")
    _write_new(path, private, 0o600)
    _write_new(public_path, public, 0o644)
    return _identify(key.public_key())[0]


def read_signing_key(path: Path) -> SigningKey:
    """Read a private key.

    Raises
    ------
    KeyFileError
        If the file can't be read, or has no Ed25519 private key in PEM without a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    allowed = "allowed: an Ed25519 private key in PEM, as churn models keygen writes it"
    try:
        key = load_pem_private_key(_read(path), None)
    except TypeError as error:  # what cryptography raises if a passphrase is needed
        raise KeyFileError(f"{path}: needs a passphrase, which is not supported; {allowed}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: has no private key that can be read; {allowed}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: has a key of another kind; {allowed}")
    return SigningKey(key)


def read_trusted_keys(path: Path) -> TrustedKeys:
    """Read the public keys of a file, or of all files in a folder except hidden ones.

    Raises
    ------
    KeyFileError
        If there is none, or a file can't be read or has anything but Ed25519 public keys in PEM, so that no key is
        left out unnoticed.
    """
    try:
        files = sorted(each for each in path.iterdir() if not each.name.startswith(".")) if path.is_dir() else [path]
    except OSError as error:
        raise KeyFileError(f"{path}: can't be read: {error.strerror}") from error
    if not files:
        raise KeyFileError(f"{path}: has no files; put at least one public key there")
    return TrustedKeys({identifier: key for file in files for identifier, key in _read_public_keys(file)})


def _read_public_keys(path: Path) -> list[tuple[str, bytes]]:
    """Return identifier and raw key of each public key in a file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    allowed = "allowed: Ed25519 public keys in PEM, as churn models keygen writes them"
    data = _read(path)
    blocks = _PUBLIC.findall(data)
    if other := _BEGIN.search(_PUBLIC.sub(b"", data)):
        raise KeyFileError(f"{path}: has an incomplete or other entry, {other[1].decode()}; {allowed}")
    if not blocks:
        raise KeyFileError(f"{path}: has no public key; {allowed}")
    found = []
    for number, block in enumerate(blocks, start=1):
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path}: public key {number} can't be read; {allowed}") from error
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(f"{path}: public key {number} is of another kind; {allowed}")
        found.append(_identify(key))
    return found


def _identify(public: Any) -> tuple[str, bytes]:  # noqa: ANN401  cryptography is imported late
    """Return the identifier and the raw bytes of a public key."""
    from cryptography.hazmat.primitives import serialization as form

    der = public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    raw = public.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    return hashlib.sha256(der).hexdigest()[:ID_DIGITS], raw


def _read(path: Path) -> bytes:
    """Return the content of a key file, which may be a link, as in volumes of Kubernetes."""
    try:
        if not path.is_file():
            raise KeyFileError(f"{path}: is not a file" if path.exists() else f"{path}: does not exist")
        with path.open("rb") as file:
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: can't be read: {error.strerror}") from error
    if len(data) > MAX_KEY_BYTES:
        raise KeyFileError(f"{path}: has more than {MAX_KEY_BYTES:,} bytes, so it is not a key file")
    return data


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: exists already; a key is never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"{path}: can't be written: {error.strerror}") from error
    with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor
        file.write(data)
        file.flush()
        os.fsync(descriptor)
