"""Signatures of model versions: `signature.txt` beside `manifest.json`, one line for each key.

The manifest has the SHA-256 of every other file, so its signature covers the whole version. A line is
``ed25519 <key identifier> <signature in base64>``. What is signed are `DOMAIN` and the exact bytes of the manifest.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import BundleError
from churn.runtime.files import replace_text
from churn.trust.keys import TrustedKeys, read_trusted_keys
from churn.trust.regular import read_regular

if TYPE_CHECKING:
    from churn.trust.keys import SigningKey

SIGNATURE = "signature.txt"
TRUSTED_KEYS = "CHURN_TRUSTED_KEYS"
"""Environment variable with the file or folder of the trusted keys."""

DOMAIN = b"churn: manifest of a model version, signature format 1\0"
"""Precedes the manifest, so that a signature made for something else is never one of a model."""

MAX_SIGNATURES = 16
MAX_SIGNATURE_BYTES = 128 * MAX_SIGNATURES

_LINE = re.compile(rb"ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)")


@dataclass(frozen=True, slots=True)
class Signers:
    """Who signed a model version.

    Attributes
    ----------
    required : bool
        Whether a signature by a trusted key was required.
    keys : tuple of str
        Identifiers of the trusted keys whose signatures were verified; empty if none was required.
    """

    required: bool = False
    keys: tuple[str, ...] = ()


UNCHECKED = Signers()
"""No signature was required, and none was read."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Which model versions may be read.

    Attributes
    ----------
    source : Path, TrustedKeys or None
        A version needs a signature by one of these keys. A path is read again for each version, so that a key can be
        added or revoked while a service runs. None: no signature is needed.
    """

    source: Path | TrustedKeys | None = None

    @classmethod
    def from_environment(cls) -> Trust:
        """Take the trusted keys from `TRUSTED_KEYS`; as with all settings, an empty variable is unset."""
        found = os.environ.get(TRUSTED_KEYS)
        return cls(Path(found) if found else None)

    def load(self) -> TrustedKeys | None:
        """Return the trusted keys; None if no signature is needed.

        Raises
        ------
        KeyFileError
            If they can't be read, or there is none.
        """
        return read_trusted_keys(self.source) if isinstance(self.source, Path) else self.source


def check_signature(keys: TrustedKeys, manifest: bytes, signature: bytes) -> Signers:
    """Verify the signatures of a manifest.

    Parameters
    ----------
    keys : TrustedKeys
    manifest : bytes
    signature : bytes
        Content of `SIGNATURE`.

    Raises
    ------
    BundleError
        If there is none by a trusted key, one by a trusted key is wrong, or the format is.
    """
    lines = parse_signatures(signature)
    known = {identifier: value for identifier, value in lines.items() if identifier in keys.keys}
    if not known:
        raise BundleError(
            f"is signed by {', '.join(lines)}, which {TRUSTED_KEYS} does not have; trusted: {', '.join(keys.keys)}"
        )
    for identifier, value in known.items():
        if not keys.verify(identifier, value, DOMAIN + manifest):
            raise BundleError(f"the signature by {identifier} does not match this manifest")
    return Signers(required=True, keys=tuple(known))


def parse_signatures(data: bytes) -> dict[str, bytes]:
    """Return the signatures of 64 bytes by the identifier of the key.

    Raises
    ------
    BundleError
        If the format is wrong.
    """
    found: dict[str, bytes] = {}
    lines = data.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or number > MAX_SIGNATURES:
            raise BundleError(
                f"line {number}: expected 'ed25519', the identifier of a key and its signature in base64, on each of "
                f"at most {MAX_SIGNATURES} lines"
            )
        identifier = match[1].decode()
        try:
            value = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise BundleError(f"line {number}: the signature is not valid base64") from error
        if identifier in found:
            raise BundleError(f"line {number}: a second signature by {identifier}")
        found[identifier] = value
    return found


def read_signature(folder: Path) -> bytes:
    """Return the signature file of a version.

    Raises
    ------
    BundleError
        If there is none, or it is too large or not a regular file.
    """
    path = folder / SIGNATURE
    if not os.path.lexists(path):
        raise BundleError(
            f"{path}: is missing, but {TRUSTED_KEYS} allows signed versions only; sign it with churn models sign"
        )
    return read_regular(path, MAX_SIGNATURE_BYTES)


def write_signature(folder: Path, manifest: bytes, key: SigningKey) -> None:
    """Add the signature of a manifest to the signature file of its version, in place of an earlier one by this key.

    Raises
    ------
    BundleError
        If the existing file can't be read or has no room.
    """
    path = folder / SIGNATURE
    try:
        lines = parse_signatures(read_regular(path, MAX_SIGNATURE_BYTES)) if os.path.lexists(path) else {}
    except BundleError as error:
        raise BundleError(f"{path}: {error}; remove the file to sign again") from error
    lines[key.identifier] = key.sign(DOMAIN + manifest)
    if len(lines) > MAX_SIGNATURES:
        raise BundleError(f"{path}: has {MAX_SIGNATURES} signatures already; remove those no longer needed")
    text = [f"ed25519 {identifier} {base64.b64encode(value).decode()}\n" for identifier, value in lines.items()]
    replace_text(path, "".join(text))
