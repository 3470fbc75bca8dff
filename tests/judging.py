"""What became of an altered version: refused, loaded with the same scores, loaded with others, or a fault of ours."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mutating import Mutator, Sources

from churn.bundle import sign_bundle
from churn.columns import as_customers
from churn.errors import ChurnError, InvalidCustomersError
from churn.scorer import load_scorer
from churn.trust.comparison import draw_raw
from churn.trust.keys import read_signing_key, read_trusted_keys, write_key_pair
from churn.trust.signatures import Trust
from service.observe.metrics import Metrics
from service.predict.served_model import ServedModel

if TYPE_CHECKING:
    from pathlib import Path

    from churn.engines import EngineChoice

    Outcome = Literal["refused", "same scores", "other scores", "traceback"]

CUSTOMERS = 200

NAMED = {"entry threshold", "entry schema", "entry preprocessing", "entry golden", "text of manifest.json",
         "file model.onnx", "file model.keras", "the whole version"}  # fmt: skip
"""Alterations with new hashes that SECURITY.md names: unsigned, they may be loaded with other scores."""


@dataclass(frozen=True)
class Verdict:
    """What became of an altered version.

    Attributes
    ----------
    is_forged : bool
        Whether all hashes were computed anew.
    kind : str
        What was altered.
    outcome : str
    message : str
    """

    is_forged: bool
    kind: str
    outcome: Outcome
    message: str = ""


class Judge:
    """Alters a version and loads it as the service does.

    Parameters
    ----------
    version, other : Path
        Folders of two unsigned versions, which are copied.
    work : Path
        A new folder.
    signed : bool
        Whether both are signed by a key that is trusted, and signatures required.
    engine : {"onnx", "tensorflow"}
    """

    def __init__(self, version: Path, other: Path, work: Path, *, signed: bool, engine: EngineChoice = "onnx") -> None:
        self._work = work
        self._engine = engine
        folders = [shutil.copytree(path, work / name / path.name) for path, name in ((version, "a"), (other, "b"))]
        self._trust, foreign = Trust(), None
        if signed:
            for name in ("trusted", "foreign"):
                write_key_pair(work / name)
            for folder in folders:
                sign_bundle(folder, read_signing_key(work / "trusted"))
            self._trust = Trust(read_trusted_keys(work / "trusted.pub"))
            foreign = read_signing_key(work / "foreign")
        self._sources = Sources(folders[0], folders[1], foreign)
        scorer = load_scorer(folders[0], engine, trust=self._trust)
        customers = as_customers(scorer.schema, draw_raw(scorer.schema, CUSTOMERS))
        self._columns = {name: [customer[name] for customer in customers] for name in scorer.schema.names}
        self._expected = scorer.score(self._columns)
        self._decisions = scorer.decide(self._expected)

    def judge(self, number: int) -> Verdict:
        """Make an alteration, every second one with new hashes, and load the result."""
        mutator = Mutator(self._sources, number)
        folder = self._work / self._sources.version.name
        is_forged = number % 2 == 1
        try:
            kind = mutator.forge(folder) if is_forged else mutator.damage(folder)
            mutator.tamper_with_signature(folder)
            try:
                outcome = self._load(folder)
            except ChurnError as error:
                text = str(error)
                is_clear = "\n" not in text and str(self._work) in text
                return Verdict(is_forged, kind, "refused" if is_clear else "traceback", text)
            except Exception as error:  # noqa: BLE001  what is looked for
                return Verdict(is_forged, kind, "traceback", f"{type(error).__name__}: {error}")
            return Verdict(is_forged, kind, outcome)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _load(self, folder: Path) -> Outcome:
        scorer = load_scorer(folder, self._engine, trust=self._trust)
        ServedModel.of(scorer, 10, Metrics())
        try:
            found: Any = scorer.score(self._columns)
        except InvalidCustomersError:
            return "other scores"
        same = np.abs(found - self._expected).max() <= 1e-6 and (scorer.decide(found) == self._decisions).all()
        return "same scores" if same else "other scores"
