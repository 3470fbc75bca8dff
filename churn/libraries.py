"""Whether an installed library can read what the library that wrote a model version has written."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

from churn.errors import BundleError, EngineError

if TYPE_CHECKING:
    from churn.bundle import Manifest

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})(\..*)?")


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
    earliest, found = _read_version(written), _read_version(installed)
    if earliest is None:
        raise BundleError(f"libraries.{package}: {written!r} is not a valid version, such as {installed}")
    if found is None or found[0] != earliest[0] or found < earliest:
        raise BundleError(
            f"the bundle was written with {package} {written}, but {installed} is installed; "
            f"allowed: {written} or a newer {earliest[0]}.x"
        )


def _read_version(version: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version."""
    match = _VERSION.fullmatch(version)
    return None if match is None else (int(match[1]), int(match[2]))
