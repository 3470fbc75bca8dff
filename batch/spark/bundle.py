"""Send a model to Spark's executors as bytes; executors verify it and load it once per process."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from batch.chunk import open_reasons
from churn.bundle import MANIFEST, Manifest, open_bundle
from churn.errors import BundleError
from churn.reasons.columns import list_columns
from churn.scorer import load_scorer
from churn.trust.signatures import SIGNATURE, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn.engines import EngineChoice
    from churn.reasons.strongest import ReasonWriter, Wanted
    from churn.scorer import Scorer
    from churn.trust.keys import TrustedKeys

_loaded: dict[tuple[str, str, frozenset[str], Wanted | None], Loaded] = {}
"""Models loaded in this process. Spark reuses its Python workers, so later tasks find the model here."""


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
    reasons : int or "all", optional
        Number of reasons for each customer.
    reason_columns : tuple of tuple
        Their columns, as `churn.reasons.columns.list_columns` lists them.
    """

    version: str
    digest: str
    engine: EngineChoice
    files: Mapping[str, bytes]
    trusted: TrustedKeys | None = None
    reasons: Wanted | None = None
    reason_columns: tuple[tuple[str, str], ...] = ()


class Loaded(NamedTuple):
    """A model that is loaded in this process, and the writer of the reasons if a job wants any."""

    scorer: Scorer
    writer: ReasonWriter | None


def pack_bundle(
    folder: Path, engine: EngineChoice = "onnx", reasons: Wanted | None = None
) -> tuple[Manifest, PackedBundle]:
    """Verify a model version and read its files; return its manifest, too.

    Raises
    ------
    BundleError
        If a file is missing or altered, or a signature that is required is.
    KeyFileError
        If the trusted keys can't be read.
    MissingBackgroundError
        If there are to be reasons, and the version has no background.
    """
    trusted = Trust.from_environment().load()
    writer = None if reasons is None else open_reasons(load_scorer(folder, "onnx", trust=Trust(trusted)), reasons)
    columns = () if writer is None else tuple(list_columns(writer))
    with open_bundle(folder, Trust(trusted)) as bundle:
        names = [MANIFEST, *bundle.manifest.content["files"], *([SIGNATURE] if trusted is not None else [])]
        files = {name: (bundle.folder / name).read_bytes() for name in names}
    digest = hashlib.sha256(files[MANIFEST]).hexdigest()
    return bundle.manifest, PackedBundle(folder.name, digest, engine, files, trusted, reasons, columns)


def load_packed(packed: PackedBundle) -> Loaded:
    """Return a packed model, which is verified and loaded once per process.

    Raises
    ------
    BundleError
        If the files differ from those that were packed, or a golden row scores differently.
    EngineError
        If the engine is not installed here.
    """
    keys = frozenset(packed.trusted.keys if packed.trusted else ())
    known = (packed.digest, packed.engine, keys, packed.reasons)
    if known not in _loaded:
        _loaded[known] = _load(packed)
    return _loaded[known]


def _load(packed: PackedBundle) -> Loaded:
    found = hashlib.sha256(packed.files[MANIFEST]).hexdigest()
    if found != packed.digest:
        raise BundleError(f"version {packed.version}: the received manifest differs from the one that was sent")
    with tempfile.TemporaryDirectory(prefix="churn-") as parent:
        folder = Path(parent) / packed.version
        folder.mkdir()
        for name, content in packed.files.items():
            (folder / name).write_bytes(content)
        scorer = load_scorer(folder, packed.engine, trust=None if packed.trusted is None else Trust(packed.trusted))
    return Loaded(scorer, open_reasons(scorer, packed.reasons))
