"""Send a model to Spark's executors as bytes; executors verify it and load it once per process."""

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
"""Scorers loaded in this process. Spark reuses its Python workers, so later tasks find the model here."""


@dataclass(frozen=True, slots=True)
class PackedBundle:
    """The files of a model version, small enough to broadcast.

    Attributes
    ----------
    version : str
        Name of the folder.
    digest : str
        SHA-256 of the manifest, which contains the hashes of the other files.
    engine : {"auto", "onnx", "tensorflow"}
        Inference engine on the executors.
    files : mapping of str to bytes
    """

    version: str
    digest: str
    engine: EngineChoice
    files: Mapping[str, bytes]


def pack_bundle(folder: Path, engine: EngineChoice = "onnx") -> PackedBundle:
    """Verify a model version and read its files.

    Raises
    ------
    BundleError
        If a file is missing or altered.
    """
    names = [MANIFEST, *read_bundle(folder).manifest.content["files"]]
    files = {name: (folder / name).read_bytes() for name in names}
    return PackedBundle(folder.name, hashlib.sha256(files[MANIFEST]).hexdigest(), engine, files)


def load_packed(packed: PackedBundle) -> Scorer:
    """Return the scorer of a packed model, which is verified and loaded once per process.

    Raises
    ------
    BundleError
        If the files differ from those that were packed, or a golden row scores differently.
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
        raise BundleError(f"version {packed.version}: the received manifest differs from the one that was sent")
    with tempfile.TemporaryDirectory(prefix="churn-") as parent:
        folder = Path(parent) / packed.version
        folder.mkdir()
        for name, content in packed.files.items():
            (folder / name).write_bytes(content)
        return load_scorer(folder, packed.engine)
