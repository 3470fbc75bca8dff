"""What a risk officer needs to say where a model came from: library versions and the code's commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = ("keras", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "scipy", "tf2onnx")


def library_versions() -> dict[str, str]:
    """Return the versions of everything that had a hand in a model."""
    versions = {name: metadata.version(name) for name in LIBRARIES}
    versions["python"] = platform.python_version()
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            versions["tensorflow"] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` if files were changed; None outside a checkout."""
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
