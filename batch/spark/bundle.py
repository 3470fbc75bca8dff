"""Send a model to Spark's executors as bytes; executors verify it and load it once per process."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn.bundle import MANIFEST, Manifest, open_bundle
from churn.errors import BundleError
from churn.scorer import load_scorer
from churn.trust.signatures import SIGNATURE, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn.engines import EngineChoice
    from churn.scorer import Scorer
    from churn.trust.keys import TrustedKeys

_loaded: dict[tuple[str, str, frozenset[str]], Scorer] = {}
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
    trusted : TrustedKeys or None
        The keys that the driver trusts, one of which must have signed the version on the executors, too. None: the
        environment of the executors decides.
    """

    version: str
    digest: str
    engine: EngineChoice
    files: Mapping[str, bytes]
    trusted: TrustedKeys | None = None


def pack_bundle(folder: Path, engine: EngineChoice = "onnx") -> tuple[Manifest, PackedBundle]:
    """Verify a model version and read its files; return its manifest, too.

    Raises
    ------
    BundleError
        If a file is missing or altered, or a signature that is required is.
    KeyFileError
        If the trusted keys can't be read.
    """
    trusted = Trust.from_environment().load()
    with open_bundle(folder, Trust(trusted)) as bundle:
        names = [MANIFEST, *bundle.manifest.content["files"], *([SIGNATURE] if trusted is not None else [])]
        files = {name: (bundle.folder / name).read_bytes() for name in names}
    digest = hashlib.sha256(files[MANIFEST]).hexdigest()
    return bundle.manifest, PackedBundle(folder.name, digest, engine, files, trusted)


def load_packed(packed: PackedBundle) -> Scorer:
    """Return the scorer of a packed model, which is verified and loaded once per process.

    Raises
    ------
    BundleError
        If the files differ from those that were packed, or a golden row scores differently.
    EngineError
        If the engine is not installed here.
    """
    known = (packed.digest, packed.engine, frozenset(packed.trusted.keys if packed.trusted else ()))
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
        return load_scorer(folder, packed.engine, trust=None if packed.trusted is None else Trust(packed.trusted))
