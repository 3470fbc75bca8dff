"""Model versions as folders, written completely and verified when read.

`manifest.json` contains everything the service needs and the SHA-256 of every other file. Its own digest is in its last
line, computed over the file with the digest blanked. Hashes detect damage and mix-ups, not forgery.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from churn.errors import BundleError, EngineError, SchemaError
from churn.names import normalize_keys
from churn.preprocessing import Preprocessor
from churn.runtime.files import sha256, sync
from churn.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
"""Version of the manifest format; other versions are rejected."""

MANIFEST = "manifest.json"
KERAS_FILE = "model.keras"
ONNX_FILE = "model.onnx"
PREPROCESSOR_FILE = "preprocessor.joblib"
REPORT_FILE = "report.html"
REQUIRED_FILES = (KERAS_FILE, ONNX_FILE, PREPROCESSOR_FILE, REPORT_FILE)

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
    """Read a model version after verifying the hashes of all files.

    Raises
    ------
    BundleError
        If a check fails; the message names the file and the check.
    """
    content = _read_manifest(folder / MANIFEST)
    _verify_files(folder, content)
    try:
        manifest = _understand(content)
    except SchemaError as error:
        raise BundleError(f"{folder / MANIFEST}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST}: an entry is missing or invalid: {error!r}") from error
    if folder.name.isdigit() and int(folder.name) != manifest.version:
        raise BundleError(f"{folder / MANIFEST}: the version is {manifest.version}, but the folder is {folder.name}")
    return Bundle(folder, manifest)


def _read_manifest(path: Path) -> Mapping[str, Any]:
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
    content: Mapping[str, Any] = json.loads(data)
    if content.get("format") != FORMAT:
        raise BundleError(f"{path}: unknown format {content.get('format')!r}; allowed: {FORMAT}")
    return content


def _verify_files(folder: Path, content: Mapping[str, Any]) -> None:
    files = content.get("files", {})
    for name in sorted({*REQUIRED_FILES, *files}):
        path = folder / name
        if name not in files:
            raise BundleError(f"{folder / MANIFEST}: does not list {name}")
        if not path.is_file():
            raise BundleError(f"{path}: is missing")
        try:
            found = sha256(path)
        except OSError as error:
            raise BundleError(f"{path}: can't be read: {error.strerror}") from error
        if found != files[name]["sha256"]:
            raise BundleError(f"{path}: SHA-256 differs from the manifest's: the file was altered or damaged")


def _understand(content: Mapping[str, Any]) -> Manifest:
    schema = Schema.from_dict(content["schema"])
    if schema.unlisted:
        raise SchemaError(f"categories without values: {', '.join(schema.unlisted)}")
    return Manifest(
        version=int(content["version"]),
        schema=schema,
        threshold=float(content["threshold"]),
        preprocessor=Preprocessor.from_dict(content["preprocessing"]),
        golden=tuple((normalize_keys(row["customer"]), float(row["probability"])) for row in content["golden"]),
        content=content,
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
