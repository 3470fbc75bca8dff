"""Infer the schema of a large table from a sample, corrected by statistics of all rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pyarrow as pa
from pyarrow import compute
from tqdm import tqdm

from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.encoding import NOT_UTF8, advise_conversion
from training.cells import count_distinct
from training.exclusions import RowChooser, parse_exclusions
from training.infer import DIFFERENT, Inference, describe_gaps, document, find_label, infer, list_categories
from training.labels import Occurrence, choose_classes, read_words
from training.second_header import SECOND_HEADER, has_second_header
from training.streaming import keys
from training.streaming.column_statistics import ColumnStatistics
from training.tables import Table, make_columns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.numerals import Decimal
    from churn.schema import Schema
    from training.exclusions import Exclusion
    from training.labels import Classes
    from training.source import Batch, Source
    from training.table_options import OnBadRow, TableOptions

INFER_ROWS = 100_000
"""Number of rows in the sample."""

OTHER_ENCODING = 0.01
"""Share of undecodable lines in a batch above which the table has another encoding."""

MOST_WORDS = 6
"""Maximum number of distinct label values stored."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """Result of the first pass over a table.

    Attributes
    ----------
    schema : Schema
    classes : Classes
        The two label values.
    exclusions : list of Exclusion
        Conditions for excluding rows.
    has_identifier : bool
        Whether the table has an identifier column.
    rows : int
        Number of rows without incomplete lines and excluded rows.
    notes : tuple of str
        Remarks on columns and rows, one sentence each.
    dropped : mapping of str to str
        Dropped columns with reasons.
    """

    schema: Schema
    classes: Classes
    exclusions: list[Exclusion]
    has_identifier: bool
    rows: int
    notes: tuple[str, ...]
    dropped: Mapping[str, str]


def inspect(source: Source, seed: int = 0, **options: Unpack[TableOptions]) -> Inspected:
    """Read a table once and infer its schema.

    Parameters
    ----------
    source : Source
    seed : int
        Draws the sample.
    **options
        See `TableOptions`; how invalid rows are treated and numbers are written is of no concern here.

    Raises
    ------
    TableError
        If the table is invalid; the message names file, line and column.
    """
    schema, drop_rows = options.get("schema"), options.get("drop_rows", ())
    positive, negative = options.get("positive"), options.get("negative")
    label = find_label(source.path, source.names, schema.label if schema is not None else options.get("label"))
    absent = [name for name in schema.names if name not in source.names] if schema else []
    if absent:
        raise TableError(f"{source.path}: line 1: columns of the schema are missing: {', '.join(absent)}")
    exclusions = parse_exclusions(source.path, drop_rows, source.names)
    chooser = RowChooser(label, positive, negative, exclusions)
    words = _Words()
    sample = _Sample(seed, has_lines=len(source.files) == 1)
    categories = normalize_names(options.get("category", ()))
    texts = {*categories, *(schema.unlisted if schema else ())}
    facts = {name: ColumnStatistics(as_text=name in texts) for name in source.names if name != label}
    columns = list(source.names)
    if schema is not None:
        wanted = {label, *schema.unlisted, *(one.column for one in exclusions)}
        columns = [name for name in source.names if name in wanted]
    _find_second_header(source, columns, options.get("on_bad_row", "refuse"))
    with tqdm(desc="inspecting", unit="row", unit_scale=True, disable=None) as bar:
        for batch in source.read(columns):
            bar.update(len(batch.usable))
            _refuse_other_encoding(source, batch)
            chosen = chooser.exclude(batch.usable.column, len(batch.usable))
            words.see(label, batch, chosen)
            chosen = chooser.leave_others(read_words(batch.usable.column(label)), chosen)
            rows = batch.usable.filter(pa.array(chosen))
            if schema is None or schema.unlisted:
                sample.see(rows, batch, chosen)
                for name in schema.unlisted if schema else facts:
                    facts[name].see(rows.column(name), batch.rows.decimals.get(name, "."))
            sample.rows += len(rows)
    if not sample.rows:
        raise TableError(f"{source.path}: the table has a header and no rows that can be used")
    classes = words.tell(source.path, label, positive, negative)
    if schema is not None:
        schema = _list_categories(schema, facts, sample, source.path)
        return Inspected(
            schema, classes, exclusions, schema.identifier in source.names, sample.rows, chooser.describe(), {}
        )
    table = sample.as_table(source.path)
    labels = classes.encode(read_words(table.columns[label]))
    found = infer(table, label, labels, options)
    found = _widen(found, facts, table, sample.rows, (*options.get("keep", ()), *categories))
    notes = (*chooser.describe(), *found.notes)
    return Inspected(found.schema, classes, exclusions, found.has_identifier, sample.rows, notes, found.dropped)


def _list_categories(schema: Schema, facts: Mapping[str, ColumnStatistics], sample: _Sample, path: Path) -> Schema:
    """Return the schema with the levels of the table for categories without a list."""
    if not schema.unlisted:
        return schema
    listed = list_categories(schema, sample.as_table(path))
    widened = {name: facts[name].widen(listed[name]) for name in schema.unlisted}
    features = (
        replace(feature, categories=widened[feature.name].categories, open=widened[feature.name].open)
        if feature.name in widened
        else feature
        for feature in listed.features
    )
    return replace(schema, features=tuple(features))


def _widen(
    found: Inference, facts: Mapping[str, ColumnStatistics], table: Table, rows: int, keep: Collection[str]
) -> Inference:
    """Correct the schema of the sample by the statistics of all rows."""
    features, dropped = [], dict(found.dropped)
    of_sample = describe_gaps(found.schema.features)
    notes = [note for note in found.notes if note not in of_sample]
    for feature in found.schema.features:
        known, name = facts[feature.name], feature.name
        widened = known.widen(feature)
        if feature.is_numeric and name not in keep and known.counts_up(rows) and _is_unique(table.columns[name]):
            dropped[name] = DIFFERENT
        else:
            features.append(widened)
    notes += [f"{name} is dropped: {reason}." for name, reason in dropped.items() if name not in found.dropped]
    notes += describe_gaps(features)
    if not features:
        raise TableError(f"{table.path}: no column is left to learn from: {dropped}")
    # Documented bounds are applied again after widening.
    schema = document(replace(found.schema, features=tuple(features)))
    return Inference(schema, found.has_identifier, tuple(notes), dropped)


def _is_unique(column: pa.Array) -> bool:
    return count_distinct(column) == len(column)


def _refuse_other_encoding(source: Source, batch: Batch) -> None:
    """Raise TableError if a CSV is not UTF-8; a few undecodable cells are faults instead."""
    lines = {line for line, one in batch.find_broken() if one.reason == NOT_UTF8}
    if len(lines) > OTHER_ENCODING * (len(batch.usable) + len(lines)):
        what = f"{source.path}: {len(lines):,} lines, from line {min(lines)} on, are not UTF-8"
        raise TableError(f"{what}\n{advise_conversion(source.path)}")


def _find_second_header(source: Source, columns: Collection[str], on_bad_row: OnBadRow) -> None:
    """Mark a second header line of a CSV as unusable; raise TableError if there is one and such lines are refused."""
    batch = next(source.read([*columns]), None) if source.is_text else None
    if batch is None or not has_second_header(batch.usable.columns):
        return
    if on_bad_row == "refuse":
        where = f"{source.path}: line {batch.find_lines()[0]}"
        raise TableError(f"{where}: {SECOND_HEADER}; delete that line, or leave it out with --on-bad-row drop")
    source.has_second_header = True


class _Words:
    """Distinct label values with their first occurrences."""

    def __init__(self) -> None:
        self._places: dict[str, Occurrence] = {}

    def see(self, label: str, batch: Batch, chosen: NDArray[np.bool_]) -> None:
        column = batch.usable.column(label)
        words = compute.if_else(pa.array(chosen), read_words(column), pa.scalar(None, pa.string()))
        for word in words.unique().drop_null().to_pylist():
            if word not in self._places and len(self._places) < MOST_WORDS:
                row = compute.index(words, word).as_py()
                self._places[word] = Occurrence(str(column[row]).strip(), f"line {batch.find_lines()[row]}")

    def tell(self, path: Path, label: str, positive: str | None, negative: str | None) -> Classes:
        """Return the two classes of the label."""
        where = f"{path}: label {label}"
        return choose_classes(where, self._places, positive, negative, are_all=len(self._places) < MOST_WORDS)


class _Sample:
    """Random sample of fixed size: the rows with the smallest random numbers, independent of the batches.

    Parameters
    ----------
    seed : int
    has_lines : bool
        Whether the table is one file, in which a line number says where a row is.

    Attributes
    ----------
    rows : int
        Number of rows read so far.
    """

    def __init__(self, seed: int, *, has_lines: bool) -> None:
        self.rows = 0
        self._seed = seed
        self._has_lines = has_lines
        self._drawn: NDArray[np.float64] = np.empty(0)
        self._lines: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._taken: pa.Table | None = None
        self._decimals: Mapping[str, Decimal] = {}

    def see(self, rows: pa.RecordBatch, batch: Batch, selected: NDArray[np.bool_]) -> None:
        """Draw from the selected rows of a batch.

        Parameters
        ----------
        rows : pyarrow.RecordBatch
            The selected rows.
        batch : Batch
        selected : ndarray of bool, shape (usable rows of the batch,)
        """
        self._decimals = batch.rows.decimals
        drawn = keys.draw(keys.number_keys(self.rows, len(rows)), self._seed, keys.SAMPLE)
        limit = self._drawn.max() if len(self._drawn) == INFER_ROWS else 1.0
        chosen = np.flatnonzero(drawn < limit)
        if not len(chosen) and self._taken is not None:
            return
        taken = pa.Table.from_batches([rows.take(pa.array(chosen))])
        self._taken = taken if self._taken is None else pa.concat_tables([self._taken, taken])
        self._drawn = np.concatenate([self._drawn, drawn[chosen]])
        lines = batch.find_lines()[selected][chosen] if self._has_lines else np.zeros(len(chosen), dtype=np.int64)
        self._lines = np.concatenate([self._lines, lines])
        if len(self._drawn) > INFER_ROWS:
            best = np.sort(np.argpartition(self._drawn, INFER_ROWS)[:INFER_ROWS])
            self._taken, self._drawn, self._lines = (
                self._taken.take(pa.array(best)),
                self._drawn[best],
                self._lines[best],
            )

    def as_table(self, path: Path) -> Table:
        """Return the sample as a `Table`."""
        assert self._taken is not None  # noqa: S101  there is at least one row
        return Table(path, "", make_columns(self._taken), self._lines, decimals=self._decimals)
