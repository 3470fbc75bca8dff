"""Score recorded inputs again with the recorded version, and compare to the last of the six decimals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from churn.errors import ChurnError
from churn.feature import InvalidValueError
from churn.leniency import Leniency
from churn.names import normalize_keys
from churn.registry import Registry
from churn.scorer import load_scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from churn.engines import EngineChoice
    from churn.schema import Schema
    from churn.scorer import Scorer
    from churn.trust.signatures import Trust
    from records.decision import Record


class Replayed(NamedTuple):
    """A record that was scored again.

    Attributes
    ----------
    record : Record
    probability : float or None
        None if it could not be scored again.
    reason : str
        Why not; empty if it was.
    """

    record: Record
    probability: float | None
    reason: str = ""

    @property
    def is_same(self) -> bool:
        """Whether the probability is the recorded one, and so is the decision."""
        record = self.record
        return self.probability == record.probability and (self.probability > record.threshold) == record.churn


@dataclass
class Tally:
    """Counts of a replay.

    Attributes
    ----------
    replayed : int
        Records that were scored again.
    different : list of Replayed
        Those whose probability or decision is another one; the first `MAX_LISTED`.
    differences : int
        Their number.
    skipped : dict of str to int
        Records that could not be scored again, by reason.
    """

    replayed: int = 0
    differences: int = 0
    different: list[Replayed] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def add(self, results: Iterable[Replayed]) -> None:
        """Count results."""
        for one in results:
            if one.probability is None:
                self.skipped[one.reason] = self.skipped.get(one.reason, 0) + 1
                continue
            self.replayed += 1
            if not one.is_same:
                self.differences += 1
                if len(self.different) < MAX_LISTED:
                    self.different.append(one)


MAX_LISTED = 100

ERASED = "the input was erased"


class Replayer:
    """Scores records with the versions that they name.

    Parameters
    ----------
    models : Path
        Folder of the model versions.
    engine : {"auto", "onnx", "tensorflow"}
    trust : Trust, optional
        See `load_scorer`.
    known : mapping of str to Scorer, optional
        Scorers that are loaded already, by the hash of their manifest.
    """

    def __init__(
        self,
        models: Path,
        engine: EngineChoice = "auto",
        trust: Trust | None = None,
        known: Mapping[str, Scorer] | None = None,
    ) -> None:
        self._models = models
        self._engine = engine
        self._trust = trust
        self._scorers: dict[str, Scorer | str] = dict(known or {})

    def replay(self, records: Iterable[Record]) -> list[Replayed]:
        """Score records again, those of a version together; return them in their order."""
        records = list(records)
        results: list[Replayed | None] = [None] * len(records)
        for digest in dict.fromkeys(record.manifest_sha256 for record in records):
            rows: list[list[float]] = []
            places: list[int] = []
            for place, record in enumerate(records):
                if record.manifest_sha256 != digest:
                    continue
                scorer = self._find(record)
                row = scorer if isinstance(scorer, str) else read_row(scorer.schema, record)
                if isinstance(row, str):
                    results[place] = Replayed(record, None, row)
                else:
                    rows.append(row)
                    places.append(place)
            found = self._scorers.get(digest)
            if rows and found is not None and not isinstance(found, str):
                probabilities = found.score_raw(np.array(rows, dtype=np.float64)).tolist()
                for place, probability in zip(places, probabilities, strict=True):
                    results[place] = Replayed(records[place], probability)
        return [one for one in results if one is not None]

    def _find(self, record: Record) -> Scorer | str:
        """Return the scorer of a record, or why there is none."""
        digest = record.manifest_sha256
        if digest not in self._scorers:
            self._scorers[digest] = self._load(record.model_version, digest)
        return self._scorers[digest]

    def _load(self, version: str, digest: str) -> Scorer | str:
        try:
            registry = Registry(self._models)
            if not version.isdecimal() or int(version) not in registry.versions():
                return f"version {version} is not in {self._models}"
            scorer = load_scorer(registry.folder(int(version)), self._engine, trust=self._trust)
        except ChurnError as error:
            return f"version {version} can't be loaded: {error}"
        if scorer.manifest.content["manifest_sha256"] != digest:
            return f"version {version} in {self._models} is another one: its manifest has another hash"
        return scorer


def read_row(schema: Schema, record: Record) -> list[float] | str:
    """Return the row of the raw matrix of a record's input, or why it can't be read."""
    return read_input(schema, record.input, record.read_as)


def read_input(schema: Schema, text: str | None, read_as: str | None) -> list[float] | str:
    """Return the row of the raw matrix of an input, or why it can't be read; see `Decision` for the parameters."""
    if text is None:
        return ERASED
    lenient, commas = _choose_leniency(read_as)
    with_comma = lenient._replace(decimal=",")
    customer = lenient.name_fields(normalize_keys(json.loads(text)))
    try:
        return [
            (with_comma if feature.name in commas else lenient).read(feature, customer.get(feature.name))
            for feature in schema.features
        ]
    except InvalidValueError as error:
        return f"the input can't be read: {error}"


@lru_cache(maxsize=1000)
def _choose_leniency(read_as: str | None) -> tuple[Leniency, frozenset[str]]:
    """Return how an input was read, and the columns whose numbers have a comma."""
    asked = parse_qsl(read_as or "")
    options: dict[str, Any] = dict(asked)
    lenient = Leniency(parses_texts=options.get("texts") == "parse", decimal=options.get("decimal", "."))
    return lenient, frozenset(value for name, value in asked if name == "comma")
