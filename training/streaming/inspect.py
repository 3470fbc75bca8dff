"""Finds out what the columns of a large table are: by the usual rules on a sample, corrected by facts of all rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute
from tqdm import tqdm

from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.encode import simplify
from training.dataset import find_positive
from training.infer import MAX_CATEGORIES, Inference, document, find_label, infer
from training.streaming import keys
from training.streaming.facts import Facts
from training.streaming.faults import find_lines
from training.tables import Table, find_doubtful, make_frame

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema
    from training.source import Batch, Source

INFER_ROWS = 100_000
"""Rows the schema is inferred on."""

MOST_WORDS = 6
"""Different labels kept, of which two are allowed."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is known of a table once it was read through.

    Attributes
    ----------
    schema : Schema
    yes, no : str
        The label's two values, in lower case; the first means leaving.
    has_identifier : bool
        Whether the table holds the identifier's column.
    rows : int
        Without lines of too many or too few fields.
    notes : tuple of str
        What was dropped or needs a word, a sentence each.
    dropped : mapping of str to str
        The columns left out, and why.
    """

    schema: Schema
    yes: str
    no: str
    has_identifier: bool
    rows: int
    notes: tuple[str, ...]
    dropped: Mapping[str, str]


def inspect(
    source: Source,
    *,
    label: str | None = None,
    positive: str | None = None,
    identifier: str | None = None,
    schema: Schema | None = None,
    keep: Collection[str] = (),
    drop: Collection[str] = (),
    category: Collection[str] = (),
    seed: int = 0,
) -> Inspected:
    """Read a table once; what is told of it is as for `training.dataset.load_dataset`.

    Raises
    ------
    TableError
        Naming file, line and column of what can't be understood.
    """
    header = Table(source.path, "", pd.DataFrame(columns=list(source.names)), np.arange(0))
    label = find_label(header, schema.label if schema is not None else label)
    absent = [name for name in schema.names if name not in source.names] if schema else []
    if absent:
        raise TableError(f"{source.path}: line 1: the schema's columns are absent: {', '.join(absent)}")
    words = _Words()
    sample = _Sample(seed)
    categories = normalize_names(category)
    facts = {name: Facts(as_text=name in categories) for name in source.names if name != label}
    columns = [label] if schema is not None else list(source.names)
    with tqdm(desc="inspecting", unit="row", unit_scale=True, disable=None) as bar:
        for batch in source.read(columns):
            words.see(label, batch)
            if schema is None:
                sample.see(batch)
                for name, known in facts.items():
                    known.see(batch.rows.column(name), batch.decimals.get(name, "."))
            sample.rows += len(batch.rows)
            bar.update(len(batch.rows))
    if not sample.rows:
        raise TableError(f"{source.path}: the table has a header and no rows that can be used")
    yes, no = words.tell(source, label, positive)
    if schema is not None:
        return Inspected(schema, yes, no, schema.identifier in source.names, sample.rows, (), {})
    table = sample.as_table(source.path)
    labels = np.where(table.frame[label].astype(str).str.lower().str.strip() == yes, 1.0, 0.0)
    labels[table.frame[label].isna()] = np.nan
    found = infer(table, label, labels, identifier=identifier, keep=keep, drop=drop, category=category)
    found = _widen(found, facts, table, sample.rows, (*keep, *categories))
    return Inspected(found.schema, yes, no, found.has_identifier, sample.rows, found.notes, found.dropped)


def _widen(found: Inference, facts: Mapping[str, Facts], table: Table, rows: int, keep: Collection[str]) -> Inference:
    """Correct what was inferred on a sample by what is known of all rows."""
    features, dropped, notes = [], dict(found.dropped), list(found.notes)
    for feature in found.schema.features:
        known, name = facts[feature.name], feature.name
        widened = known.widen(feature)
        if widened is None:
            dropped[name] = f"it is free text (more than {MAX_CATEGORIES} different values), not a category"
        elif feature.is_numeric and name not in keep and known.counts_up(rows) and table.frame[name].is_unique:
            dropped[name] = "it is different in every row, so it names the customer and says nothing about the next one"
        else:
            features.append(widened)
            if widened.nullable and not feature.nullable:
                notes.append(f"{name} has gaps: they are imputed and marked.")
    notes += [f"{name} is dropped: {reason}." for name, reason in dropped.items() if name not in found.dropped]
    if not features:
        raise TableError(f"{table.path}: no column is left to learn from: {dropped}")
    # Documented bounds are laid over what was widened once more.
    schema = document(replace(found.schema, features=tuple(features)))
    return Inference(schema, found.has_identifier, tuple(notes), dropped)


class _Words:
    """The label's different values, each with the place where it comes first."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[Path, int]] = {}

    def see(self, label: str, batch: Batch) -> None:
        text = label_words(batch.rows.column(label))
        for word in text.unique().drop_null().to_pylist():
            if word not in self._places and len(self._places) < MOST_WORDS:
                self._places[word] = batch.file, batch.first + compute.index(text, word).as_py()

    def tell(self, source: Source, label: str, positive: str | None) -> tuple[str, str]:
        """Return the value that means leaving, and the other."""
        where, found = f"{source.path}: label {label}", sorted(self._places)
        if len(found) > 2:
            lines = find_lines(source, [row for _, row in self._places.values()])
            places = ", ".join(f"{word!r} (line {lines[self._places[word][1]]})" for word in found[:5])
            some = "more than two" if len(found) == MOST_WORDS else len(found)
            raise TableError(f"{where} has {some} values, and two are allowed: {places}{', …' * (len(found) > 5)}")
        if len(found) < 2:
            raise TableError(
                f"{where} has one value ({found}): there is nothing to tell apart" if found else f"{where} is empty"
            )
        yes = find_positive(where, found, positive)
        return yes, found[1 - found.index(yes)]


def label_words(column: pa.Array) -> pa.Array:
    """Return labels as text in lower case; null where one is missing."""
    text = compute.utf8_lower(compute.utf8_normalize(simplify(column, as_text=True), form="NFC"))
    return compute.if_else(compute.equal(text, "?"), pa.scalar(None, pa.string()), text)


class _Sample:
    """The rows of the least random numbers: as many as are wanted, whatever the batches.

    Attributes
    ----------
    rows : int
        Of the table, as far as it was read.
    """

    def __init__(self, seed: int) -> None:
        self.rows = 0
        self._seed = seed
        self._drawn: NDArray[np.float64] = np.empty(0)
        self._lines: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._taken: pa.Table | None = None
        self._decimals: Mapping[str, Decimal] = {}

    def see(self, batch: Batch) -> None:
        self._decimals = batch.decimals
        drawn = keys.draw(keys.number_keys(self.rows, len(batch.rows)), self._seed, keys.SAMPLE)
        limit = self._drawn.max() if len(self._drawn) == INFER_ROWS else 1.0
        chosen = np.flatnonzero(drawn < limit)
        taken = pa.Table.from_batches([batch.rows.take(pa.array(chosen))])
        self._taken = taken if self._taken is None else pa.concat_tables([self._taken, taken])
        self._drawn = np.concatenate([self._drawn, drawn[chosen]])
        self._lines = np.concatenate([self._lines, self.rows + chosen + 1])
        if len(self._drawn) > INFER_ROWS:
            best = np.sort(np.argpartition(self._drawn, INFER_ROWS)[:INFER_ROWS])
            self._taken, self._drawn, self._lines = (
                self._taken.take(pa.array(best)),
                self._drawn[best],
                self._lines[best],
            )

    def as_table(self, path: Path) -> Table:
        """Return the sample in the form that a table is inferred from."""
        assert self._taken is not None  # noqa: S101  there are rows
        frame = make_frame(self._taken, self._decimals)
        return Table(path, "", frame, self._lines, decimals=find_doubtful(self._decimals))
