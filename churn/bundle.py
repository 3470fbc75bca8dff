"""Model versions as folders, written completely and verified when read.

`manifest.json` contains everything the service needs and the SHA-256 of every other file. Its own digest is in its last
line, computed over the file with the digest blanked. Hashes detect damage and mix-ups. Signatures detect forgery
(`churn.trust.signatures`): if keys are trusted, every function here that reads a version requires one.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.errors import BundleError, EngineError, SchemaError
from churn.names import normalize_keys
from churn.preprocessing import Preprocessor
from churn.runtime.files import sha256, sync
from churn.schema import Schema
from churn.trust.background import BACKGROUND_FILE, decode_background, limit_size
from churn.trust.manifest import FORMAT, decode_manifest, list_files
from churn.trust.regular import measure, read_regular
from churn.trust.relations import check_relations
from churn.trust.signatures import (
    SIGNATURE,
    UNCHECKED,
    Signers,
    Trust,
    check_signature,
    read_signature,
    write_signature,
)
from churn.trust.support import read_support

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from churn.support import SupportData
    from churn.trust.keys import SigningKey

MANIFEST = "manifest.json"
KERAS_FILE = "model.keras"
ONNX_FILE = "model.onnx"
PREPROCESSOR_FILE = "preprocessor.joblib"
REPORT_FILE = "report.html"
MODEL_CARD_FILE = "model_card.md"
REQUIRED_FILES = (KERAS_FILE, ONNX_FILE, PREPROCESSOR_FILE, REPORT_FILE)

MAX_MANIFEST_BYTES = 64 * 2**20
"""Larger manifests are rejected. A million levels of categories take about half of it."""

_DIGEST = re.compile(rb'("manifest_sha256": ")([0-9a-f]{64})(")')
_BLANK = b"0" * 64


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of `manifest.json`, with typed access to the parts that are used by code.

    Attributes
    ----------
    version : int
        Version of the model and name of its folder.
    schema : Schema
    threshold : float
        A customer is predicted to leave above this probability.
    preprocessor : Preprocessor
    golden : tuple of (customer, probability)
        Raw customers with their expected probabilities.
    content : mapping
        The complete file as plain data.
    """

    version: int
    schema: Schema
    threshold: float
    preprocessor: Preprocessor
    golden: tuple[tuple[Mapping[str, Any], float], ...]
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified model folder.

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    background : ndarray of float64, shape (m, features), or None
        Customers that predictions are explained against, as a raw matrix; bundles of older programs have none.
    support : SupportData or None
        What the version knows of its training customers; versions of older programs have none.
    signers : Signers
        Whose signatures were verified, and whether one was required.
    """

    folder: Path
    manifest: Manifest
    background: NDArray[np.float64] | None = None
    support: SupportData | None = None
    signers: Signers = UNCHECKED


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `manifest.json` with the hashes of the other files in `folder`, and flush all of them to disk.

    Parameters
    ----------
    folder : Path
        Contains the other files of the bundle.
    content : mapping
        The manifest without ``format``, ``files`` and its digest, which are added.

    Raises
    ------
    BundleError
        If a required file is missing.
    """
    absent = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if absent:
        raise BundleError(f"{folder}: the bundle lacks {', '.join(absent)}")
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in (MANIFEST, SIGNATURE))
    files = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    whole = {"format": FORMAT, **content, "files": files, "manifest_sha256": _BLANK.decode()}
    blank = (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode()
    digest = hashlib.sha256(blank).hexdigest().encode()
    path = folder / MANIFEST
    path.write_bytes(_DIGEST.sub(rb"\g<1>" + digest + rb"\g<3>", blank))
    for name in (*names, MANIFEST):
        sync(folder / name)
    sync(folder)


def sign_bundle(folder: Path, key: SigningKey) -> Manifest:
    """Sign a version whose files match its manifest, and return the manifest.

    Raises
    ------
    BundleError
        If a check fails; nothing is signed then.
    """
    data, _ = _read_manifest(folder, Trust())
    manifest, files = _parse_manifest(folder, data)
    _verify_files(folder, files)
    write_signature(folder, data, key)
    return manifest


def read_bundle(folder: Path, trust: Trust | None = None) -> Bundle:
    """Read a model version after verifying its signature, its manifest and the hashes of all files.

    If signatures are required, nothing but the signature and the bytes of the manifest is read before they match. No
    other file is opened before the manifest is valid. Only regular files in the folder itself are read.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    trust : Trust, optional
        The keys one of which must have signed the version. By default those of the environment.

    Raises
    ------
    BundleError
        If a check fails; the message names the file, the entry and the check.
    KeyFileError
        If the trusted keys can't be read.
    """
    data, signature = _read_manifest(folder, _choose(trust))
    manifest, files = _parse_manifest(folder, data)
    _verify_files(folder, files)
    background = _read_background(folder, manifest.schema) if BACKGROUND_FILE in files else None
    support = read_support(folder, manifest.content, manifest.schema, files)
    return Bundle(folder, manifest, background, support, signature.signers)


@contextmanager
def open_bundle(folder: Path, trust: Trust | None = None) -> Iterator[Bundle]:
    """Yield a version whose files may be opened inside the block.

    If signatures are required, its folder is a private copy: whoever can write to the original could otherwise replace
    a file between its verification and the moment when it is opened.

    Parameters
    ----------
    folder, trust
        As for `read_bundle`.

    Raises
    ------
    BundleError, KeyFileError
        As for `read_bundle`. Messages raised in the block name `folder`, not the copy.
    """
    trust = _choose(trust)
    if trust.source is None:
        yield read_bundle(folder, trust)
        return
    with tempfile.TemporaryDirectory(prefix="churn-") as parent:
        copy = Path(parent, folder.name)
        try:
            copy_bundle(folder, copy, trust)
            yield read_bundle(copy, trust)
        except (BundleError, EngineError) as error:
            raise type(error)(str(error).replace(str(copy), str(folder))) from error


def copy_bundle(folder: Path, target: Path, trust: Trust | None = None) -> str:
    """Copy a model version to a new folder, and verify the copy, which nothing that happens to `folder` can change.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    target : Path
        Created with access for this user only; must not exist. Files that the manifest does not list are left out,
        except for the signature, if one is required.
    trust : Trust, optional
        As for `read_bundle`.

    Returns
    -------
    str
        Digest of the manifest and thereby of all files.

    Raises
    ------
    BundleError
        If a check fails; the message names the file in `folder`.
    KeyFileError
        If the trusted keys can't be read.
    OSError
        If the copy can't be written.
    """
    data, signature = _read_manifest(folder, _choose(trust))
    manifest, files = _parse_manifest(folder, data)
    target.mkdir(mode=0o700)
    (target / MANIFEST).write_bytes(data)
    if signature.signers.required:
        (target / SIGNATURE).write_bytes(signature.data)
    for name in files:
        measure(folder / name)
        try:
            shutil.copyfile(folder / name, target / name, follow_symlinks=False)
        except OSError as error:
            raise BundleError(f"{folder / name}: can't be copied: {error.strerror}") from error
    _verify_files(target, files, shown=folder)
    return str(manifest.content["manifest_sha256"])


@dataclass(frozen=True, slots=True)
class _Signature:
    """Content of the signature file, if one is required, and who signed."""

    signers: Signers = UNCHECKED
    data: bytes = b""


def _choose(trust: Trust | None) -> Trust:
    return Trust.from_environment() if trust is None else trust


def _read_manifest(folder: Path, trust: Trust) -> tuple[bytes, _Signature]:
    """Return a manifest whose signature, if one is required, and digest are right."""
    path = folder / MANIFEST
    keys = trust.load()
    data = read_regular(path, MAX_MANIFEST_BYTES)
    signature = _Signature()
    if keys is not None:
        signed = read_signature(folder)
        try:
            signature = _Signature(check_signature(keys, data, signed), signed)
        except BundleError as error:
            raise BundleError(f"{folder / SIGNATURE}: {error}") from error
    found = _DIGEST.findall(data)
    if (
        len(found) != 1
        or hashlib.sha256(_DIGEST.sub(rb"\g<1>" + _BLANK + rb"\g<3>", data)).hexdigest().encode() != found[0][1]
    ):
        raise BundleError(f"{path}: SHA-256 differs from the digest in the file: it was altered or damaged")
    return data, signature


def _parse_manifest(folder: Path, data: bytes) -> tuple[Manifest, Mapping[str, tuple[str, int]]]:
    """Return the manifest of a folder, and the SHA-256 and size in bytes of each file."""
    path = folder / MANIFEST
    try:
        content = decode_manifest(data)
        files = list_files(content)
        manifest = _understand(content)
    except (BundleError, SchemaError) as error:
        raise BundleError(f"{path}: {error}") from error
    if folder.name.isdigit() and int(folder.name) != manifest.version:
        raise BundleError(f"{path}: the version is {manifest.version}, but the folder is {folder.name}")
    if reserved := [name for name in (MANIFEST, SIGNATURE) if name in files]:
        raise BundleError(f"{path}: files: {reserved[0]} can't be listed")
    if missing := [name for name in REQUIRED_FILES if name not in files]:
        raise BundleError(f"{path}: does not list {missing[0]}")
    return manifest, files


def _verify_files(folder: Path, files: Mapping[str, tuple[str, int]], shown: Path | None = None) -> None:
    """Compare the files with their hashes; `shown` is the folder that messages name, by default `folder`."""
    for name, (digest, size) in sorted(files.items()):
        path = folder / name
        named = (folder if shown is None else shown) / name
        try:
            is_whole = measure(path) == size and sha256(path) == digest
        except OSError as error:
            raise BundleError(f"{named}: can't be read: {error.strerror}") from error
        if not is_whole:
            raise BundleError(f"{named}: SHA-256 differs from the manifest's: the file was altered or damaged")


def _read_background(folder: Path, schema: Schema) -> NDArray[np.float64]:
    path = folder / BACKGROUND_FILE
    data = read_regular(path, limit_size(schema))
    try:
        return decode_background(data, schema)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _understand(content: Mapping[str, Any]) -> Manifest:
    schema = Schema.from_dict(content["schema"])
    if schema.unlisted:
        raise SchemaError(f"categories without values: {', '.join(schema.unlisted)}")
    normalized = {
        **content,
        "histograms": normalize_keys(content["histograms"]),
        "golden": [{**row, "customer": normalize_keys(row["customer"])} for row in content["golden"]],
    }
    check_relations(schema, normalized)
    return Manifest(
        version=content["version"],
        schema=schema,
        threshold=float(content["threshold"]),
        preprocessor=Preprocessor.from_dict(content["preprocessing"]),
        golden=tuple((row["customer"], float(row["probability"])) for row in normalized["golden"]),
        content=normalized,
    )
