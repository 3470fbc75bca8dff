"""What `churn models verify` checks of a version: all that the service does before it serves it, and more."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal

from churn.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from churn.engines import EngineChoice
    from churn.scorer import Scorer

COMPARED_ROWS = 2_000
"""Made-up customers on which the engines are compared."""

_LIBRARIES: dict[Literal["onnx", "tensorflow"], str] = {"onnx": "onnxruntime", "tensorflow": "tensorflow"}


def verify_version(folder: Path, engine: EngineChoice, trusted_keys: Path | None) -> list[str]:
    """Load a version as the service does, with each engine, and compare the engines.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    engine : {"auto", "onnx", "tensorflow"}
        "auto": each one that is installed.
    trusted_keys : Path or None
        File or folder of the keys one of which must have signed it. None: no signature is required.

    Returns
    -------
    list of str
        What was found, for people.

    Raises
    ------
    ChurnError
        If a check fails.
    """
    from churn.engines import choose_engine
    from churn.trust.signatures import SIGNATURE, Trust
    from service.rollout.loading import load_model

    installed = [name for name, library in _LIBRARIES.items() if importlib.util.find_spec(library) is not None]
    chosen = installed if engine == "auto" else [choose_engine(engine)]
    scorers = [load_model(folder, each, trust=Trust(trusted_keys)).scorer for each in chosen]
    if len(scorers) > 1:
        _compare(folder, *scorers)
    first = scorers[0]
    names = ", ".join(chosen)
    found = [f"all files match their hashes, {len(first.manifest.golden)} golden rows match ({names})"]
    if first.signers.required:
        found.append(f"signed by {', '.join(first.signers.keys)}")
    elif (folder / SIGNATURE).exists():
        found.append("the signature was not checked: no keys are trusted (--trusted-keys)")
    known = {"manifest.json", SIGNATURE, *first.manifest.content["files"]}
    if others := sorted(path.name for path in folder.iterdir() if path.name not in known):
        found.append(f"not in the manifest, and read by no command: {', '.join(map(repr, others))}")
    return found


def _compare(folder: Path, one: Scorer, other: Scorer) -> None:
    """Raise an error if two engines score made-up customers differently."""
    import numpy as np

    from churn.scorer import GOLDEN_TOLERANCE
    from churn.trust.comparison import draw_raw

    raw = draw_raw(one.schema, COMPARED_ROWS)
    difference = float(np.abs(one.predict(raw).astype(np.float64) - other.predict(raw)).max())
    if not difference <= GOLDEN_TOLERANCE:
        raise BundleError(
            f"{folder}: {one.engine.name} and {other.engine.name} differ by {difference:.2g} on made-up customers; "
            f"allowed: {GOLDEN_TOLERANCE:g}"
        )
