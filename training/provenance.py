"""Provenance of a model: library versions and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = ("keras", "numpy", "onnx", "onnxruntime", "scikit-learn", "scipy")


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries used for training."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    versions["python"] = platform.python_version()
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            versions["tensorflow"] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` if files have changed; None outside a git checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],  # noqa: S607  the user's git
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
