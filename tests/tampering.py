"""Ways to damage or forge a bundle."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn.bundle import MANIFEST, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable


def flip_byte(path: Path, position: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def forge_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest's content and sign it anew, as a colleague with a wrong idea would."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for added in ("format", "files", "manifest_sha256"):
        content.pop(added)
    change(content)
    write_manifest(folder, content)


def sign(folder: Path, content: dict[str, Any]) -> None:
    """Write a manifest exactly as it is given, with the digest that goes with it."""
    blank = json.dumps({**content, "manifest_sha256": "0" * 64}, indent=1)
    digest = hashlib.sha256(blank.encode()).hexdigest()
    (folder / MANIFEST).write_text(blank.replace("0" * 64, digest), encoding="utf-8")


class Marker:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def mark_pickle(folder: Path, marker: Path) -> None:
    """Let the pickle of a version create a file when it is opened, under a manifest that is valid."""
    (folder / "preprocessor.joblib").write_bytes(pickle.dumps(Marker(marker)))
    forge_manifest(folder, lambda _: None)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
