"""A model on its way to Spark's executors: its files as bytes, verified where they arrive, loaded once a process."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn.bundle import MANIFEST, read_bundle
from churn.errors import BundleError
from churn.scorer import load_scorer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn.engines import EngineChoice
    from churn.scorer import Scorer

_loaded: dict[tuple[str, str], Scorer] = {}
"""The scorers of this process. Spark keeps its Python workers, so a task after the first finds its model here."""


@dataclass(frozen=True, slots=True)
class PackedBundle:
    """A model's folder as bytes, small enough to broadcast.

    Attributes
    ----------
    version : str
        The folder's name.
    digest : str
        SHA-256 of the manifest, which holds those of the other files.
    engine : {"auto", "onnx", "tensorflow"}
        What runs the network on the executors.
    files : mapping of str to bytes
    """

    version: str
    digest: str
    engine: EngineChoice
    files: Mapping[str, bytes]


def pack_bundle(folder: Path, engine: EngineChoice = "onnx") -> PackedBundle:
    """Read a verified model folder.

    Raises
    ------
    BundleError
        If a file is not as it was written.
    """
    names = [MANIFEST, *read_bundle(folder).manifest.content["files"]]
    files = {name: (folder / name).read_bytes() for name in names}
    return PackedBundle(folder.name, hashlib.sha256(files[MANIFEST]).hexdigest(), engine, files)


def load_packed(packed: PackedBundle) -> Scorer:
    """Return the scorer of a packed model: loaded and verified the first time in this process, then the same one.

    Raises
    ------
    BundleError
        If the bytes are not those that were packed, or the model does not score as it did.
    EngineError
        If the engine is not installed here.
    """
    known = (packed.digest, packed.engine)
    if known not in _loaded:
        _loaded[known] = _load(packed)
    return _loaded[known]


def _load(packed: PackedBundle) -> Scorer:
    found = hashlib.sha256(packed.files[MANIFEST]).hexdigest()
    if found != packed.digest:
        raise BundleError(f"version {packed.version}: the manifest that arrived is not the one that was sent")
    with tempfile.TemporaryDirectory(prefix="churn-") as parent:
        folder = Path(parent) / packed.version
        folder.mkdir()
        for name, content in packed.files.items():
            (folder / name).write_bytes(content)
        return load_scorer(folder, packed.engine)
