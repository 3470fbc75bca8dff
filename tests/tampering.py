"""Ways to damage or forge a bundle."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from churn.bundle import MANIFEST, write_manifest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
