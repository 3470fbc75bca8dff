"""Model versions as folders, written completely and verified when read.

`manifest.json` contains everything the service needs and the SHA-256 of every other file. Its own digest is in its last
line, computed over the file with the digest blanked. Hashes detect damage and mix-ups, not forgery.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from churn.errors import BundleError, EngineError, SchemaError
from churn.names import normalize_keys
from churn.preprocessing import Preprocessor
from churn.runtime.files import sha256, sync
from churn.schema import Schema
from churn.trust.manifest import FORMAT, decode_manifest, list_files
from churn.trust.relations import check_relations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
KERAS_FILE = "model.keras"
ONNX_FILE = "model.onnx"
PREPROCESSOR_FILE = "preprocessor.joblib"
REPORT_FILE = "report.html"
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
    """A verified model folder."""

    folder: Path
    manifest: Manifest


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
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != MANIFEST)
    files = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    whole = {"format": FORMAT, **content, "files": files, "manifest_sha256": _BLANK.decode()}
    blank = (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode()
    digest = hashlib.sha256(blank).hexdigest().encode()
    path = folder / MANIFEST
    path.write_bytes(_DIGEST.sub(rb"\g<1>" + digest + rb"\g<3>", blank))
    for name in (*names, MANIFEST):
        sync(folder / name)
    sync(folder)


def read_bundle(folder: Path) -> Bundle:
    """Read a model version after verifying its manifest and the hashes of all files.

    Nothing else is opened before the manifest is valid. Only regular files in the folder itself are read.

    Raises
    ------
    BundleError
        If a check fails; the message names the file, the entry and the check.
    """
    manifest, files = _parse_manifest(folder, _read_manifest(folder / MANIFEST))
    _verify_files(folder, files)
    return Bundle(folder, manifest)


def copy_bundle(folder: Path, target: Path) -> str:
    """Copy a model version to a new folder, and verify the copy, which nothing that happens to `folder` can change.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    target : Path
        Created with access for this user only; must not exist. Files that the manifest does not list are left out.

    Returns
    -------
    str
        Digest of the manifest and thereby of all files.

    Raises
    ------
    BundleError
        If a check fails; the message names the file in `folder`.
    OSError
        If the copy can't be written.
    """
    data = _read_manifest(folder / MANIFEST)
    manifest, files = _parse_manifest(folder, data)
    target.mkdir(mode=0o700)
    (target / MANIFEST).write_bytes(data)
    for name in files:
        _measure(folder / name)
        try:
            shutil.copyfile(folder / name, target / name, follow_symlinks=False)
        except OSError as error:
            raise BundleError(f"{folder / name}: can't be copied: {error.strerror}") from error
    _verify_files(target, files, shown=folder)
    return str(manifest.content["manifest_sha256"])


def _read_manifest(path: Path) -> bytes:
    """Return a manifest whose digest is right."""
    if (size := _measure(path)) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: has {size:,} bytes; allowed: at most {MAX_MANIFEST_BYTES:,}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: can't be read: {error.strerror}") from error
    found = _DIGEST.findall(data)
    if (
        len(found) != 1
        or hashlib.sha256(_DIGEST.sub(rb"\g<1>" + _BLANK + rb"\g<3>", data)).hexdigest().encode() != found[0][1]
    ):
        raise BundleError(f"{path}: SHA-256 differs from the digest in the file: it was altered or damaged")
    return data


def _measure(path: Path) -> int:
    """Return the size of a regular file in bytes; links and devices are rejected."""
    try:
        found = path.lstat()
    except FileNotFoundError as error:
        if path.name == MANIFEST:
            raise BundleError(f"{path}: can't be read: {error.strerror}") from error
        raise BundleError(f"{path}: is missing") from error
    except OSError as error:
        raise BundleError(f"{path}: can't be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{path}: is not a regular file; copy the file into the folder")
    return found.st_size


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
    if missing := [name for name in REQUIRED_FILES if name not in files]:
        raise BundleError(f"{path}: does not list {missing[0]}")
    return manifest, files


def _verify_files(folder: Path, files: Mapping[str, tuple[str, int]], shown: Path | None = None) -> None:
    """Compare the files with their hashes; `shown` is the folder that messages name, by default `folder`."""
    for name, (digest, size) in sorted(files.items()):
        path = folder / name
        named = (folder if shown is None else shown) / name
        try:
            is_whole = _measure(path) == size and sha256(path) == digest
        except OSError as error:
            raise BundleError(f"{named}: can't be read: {error.strerror}") from error
        if not is_whole:
            raise BundleError(f"{named}: SHA-256 differs from the manifest's: the file was altered or damaged")


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


def check_library(manifest: Manifest, package: str) -> None:
    """Raise an error if a library is older than the one that wrote the bundle, or has another major version.

    Keras and scikit-learn can read files of older versions, but not of newer ones; the golden rows then show whether
    the scores are unchanged.

    Raises
    ------
    BundleError
        If the version is not allowed; the message names both versions.
    EngineError
        If the library is not installed.
    """
    written = manifest.content.get("libraries", {}).get(package)
    if written is None:
        raise BundleError(f"the manifest lacks the version of {package} that wrote the bundle")
    try:
        installed = metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise EngineError(f"{package} is not installed: pip install 'churn[tensorflow]'") from error
    if _major_minor(installed)[0] != _major_minor(written)[0] or _major_minor(installed) < _major_minor(written):
        raise BundleError(
            f"the bundle was written with {package} {written}, but {installed} is installed; "
            f"allowed: {written} or a newer {_major_minor(written)[0]}.x"
        )


def _major_minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
