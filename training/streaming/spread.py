"""Encode every row of a large table, assign it to a set, and distribute the rows over shards."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Unpack

import numpy as np
from tqdm import tqdm

from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.encode import encode_batch
from training.dataset import Dataset, check_counts, with_trained_ranges
from training.exclusions import RowChooser, find_columns
from training.labels import find_word, read_words
from training.leaks import refuse_leaks
from training.source import open_source, refuse_unreadable
from training.streaming import keys
from training.streaming.faults import FaultLog
from training.streaming.inspect import inspect
from training.streaming.repeats import Repeats
from training.streaming.shards import PARTS, Shards, ShardWriter
from training.tables import Fault, describe_dropped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from churn.schema import Schema
    from training.source import Batch, Source
    from training.streaming.inspect import Inspected
    from training.table_options import OnBadRow, TableOptions

REPORT_ROWS = 100_000
"""Maximum number of customers per set for the figures of the report."""

PREFIX = "churn-train-"
"""Prefix of the name of the scratch folder."""


@dataclass(frozen=True, slots=True)
class Split:
    """Assignment of rows to sets.

    Attributes
    ----------
    test_size : float
        Fraction of all rows; 0 for none.
    validation_size : float
        Fraction of the rest. Above 0.
    seed : int
    """

    test_size: float
    validation_size: float
    seed: int

    def choose(self, row_keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the set of each row, as an index of `PARTS`.

        Parameters
        ----------
        row_keys : ndarray of uint64, shape (n,)
        """
        drawn = keys.draw(row_keys, self.seed, keys.PART)
        held_out = self.test_size + (1 - self.test_size) * self.validation_size
        return np.where(drawn < self.test_size, 2, np.where(drawn < held_out, 1, 0))


@dataclass(frozen=True, slots=True)
class StreamedTable:
    """A large table in encoded form on disk.

    Attributes
    ----------
    shards : Shards
    sample : Dataset
        Sample of the rows of each set, with ranges, counts and notes for all rows.
    rows : mapping of str to ndarray of int64
        Row numbers of each set in the sample; empty sets are omitted.
    counts : mapping of str to int
        Number of rows of each set.
    """

    shards: Shards
    sample: Dataset
    rows: Mapping[str, NDArray[np.int64]]
    counts: Mapping[str, int]


@contextmanager
def open_streamed(
    path: Path, split: Split, *, scratch: Path | None = None, **options: Unpack[TableOptions]
) -> Iterator[StreamedTable]:
    """Read a table twice: to infer its schema, and to encode it into a scratch folder that is deleted after the block.

    Parameters
    ----------
    path : Path
        A CSV or Parquet file, or a folder of Parquet files.
    split : Split
    scratch : Path or None
        Parent of the scratch folder. Defaults to the system's temporary folder.
    **options
        See `TableOptions`.

    Raises
    ------
    TableError
        If the table is invalid, with file, line and column, or if a set has too few customers.
    """
    schema = options.get("schema")
    if schema is not None:
        options["schema"] = schema = schema.without(normalize_names(options.get("drop", ())))
    source = open_source(path, schema, options.get("decimal"), find_columns(options.get("drop_rows", ())))
    inspected = inspect(source, split.seed, **options)
    refuse_unreadable(path, inspected.schema, source.unreadable)
    with TemporaryDirectory(prefix=PREFIX, dir=scratch) as folder:
        shards = Shards.plan(Path(folder), inspected.rows, len(inspected.schema.features), split.seed)
        table = _spread(source, inspected, split, shards, options.get("on_bad_row", "refuse"))
        refuse_leaks(path, table.sample.schema, table.sample.raw, table.sample.labels, options.get("keep", ()))
        yield table


def _spread(source: Source, inspected: Inspected, split: Split, shards: Shards, on_bad_row: OnBadRow) -> StreamedTable:
    schema, statistics, log = inspected.schema, _PartStatistics(len(inspected.schema.features)), FaultLog()
    repeats = Repeats()
    wanted = {*schema.names, schema.label, schema.identifier, *(one.column for one in inspected.exclusions)}
    columns = [name for name in source.names if name in wanted]
    with (
        ShardWriter(shards) as writer,
        tqdm(total=inspected.rows, desc="encoding", unit="row", unit_scale=True, disable=None) as bar,
    ):
        done = 0
        for batch in source.read(columns):
            raw, labels = _encode(schema, inspected, batch, log)
            row_keys, good = keys.number_keys(done, len(raw)), ~np.isnan(labels)
            if inspected.has_identifier:
                row_keys = keys.identifier_keys(batch.usable.column(schema.identifier), row_keys)
            parts, drawn = split.choose(row_keys), keys.draw(keys.number_keys(done, len(raw)), split.seed, keys.SHARD)
            repeats.add(raw[good], labels[good], row_keys[good] if inspected.has_identifier else None)
            writer.write(raw[good], labels[good], parts[good], drawn[good])
            statistics.add(raw[good], labels[good], parts[good])
            done += len(raw)
            bar.update(len(raw))
    log.check(source, on_bad_row)
    statistics.check(source.path)
    return _collect(source, inspected, shards, statistics, log, repeats)


def _encode(
    schema: Schema, inspected: Inspected, batch: Batch, log: FaultLog
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the raw matrix and labels of a batch; the label is NaN for unusable rows."""
    encoded = encode_batch(schema, batch.usable, batch.rows.decimals)
    chooser = RowChooser(schema.label, inspected.classes.left, inspected.classes.stayed, inspected.exclusions)
    words = read_words(batch.usable.column(schema.label))
    chosen = chooser.leave_others(words, chooser.exclude(batch.usable.column, len(batch.usable)))
    labels = inspected.classes.encode(words)
    absent = find_word(words, None) & chosen
    bad = encoded.wrong & chosen | absent
    labels[~chosen] = np.nan
    faults = [Fault.of(one, line) for line, one in batch.find_broken()]
    broken = len({fault.line for fault in faults})
    if bad.any():
        lines = batch.find_lines().tolist()
        faults += [Fault.of(one, lines[one.row]) for one in encoded.violations if chosen[one.row]]
        faults += [Fault(lines[row], schema.label, "the label is missing") for row in np.flatnonzero(absent).tolist()]
        labels[bad] = np.nan
    log.add(batch.file, faults, int(chosen.sum()) + broken, int(bad.sum()) + broken)
    return encoded.raw, labels


class _PartStatistics:
    """Counts of customers by set and class, and ranges of the columns."""

    def __init__(self, features: int) -> None:
        self.classes = np.zeros((len(PARTS), 2), dtype=np.int64)
        self._low, self._high = np.full(features, np.inf), np.full(features, -np.inf)

    def add(self, raw: NDArray[np.float64], labels: NDArray[np.float64], parts: NDArray[np.int64]) -> None:
        if len(raw):
            self.classes += np.bincount(2 * parts + labels.astype(np.int64), minlength=6).reshape(3, 2)
            self._low = np.fmin(self._low, np.fmin.reduce(raw))
            self._high = np.fmax(self._high, np.fmax.reduce(raw))

    def ranges(self) -> NDArray[np.float64]:
        """Return a raw matrix of two rows with the minimum and maximum of each column; NaN if it has no numbers.

        Returns
        -------
        ndarray of float64, shape (2, features)
        """
        return np.where(self._low > self._high, np.nan, np.stack([self._low, self._high]))

    def check(self, path: Path) -> None:
        """Raise TableError if a class has too few customers in the table or in a set."""
        stayed, left = self.classes.sum(axis=0).tolist()
        check_counts(path, left, stayed)
        for name, counts in zip(PARTS, self.classes, strict=True):
            if not counts.all() and (counts.any() or name != "test"):
                raise TableError(
                    f"{path}: {counts[1]:,} of {counts.sum():,} customers in the {name} set left, and both classes are "
                    "required; change --test-size or --validation-size, or use a table with more rows"
                )


def _collect(
    source: Source,
    inspected: Inspected,
    shards: Shards,
    statistics: _PartStatistics,
    log: FaultLog,
    repeats: Repeats,
) -> StreamedTable:
    """Return the sample with the statistics of all rows."""
    counts = dict(zip(PARTS, statistics.classes.sum(axis=1).tolist(), strict=True))
    taken = {name: found for name, found in shards.take(dict.fromkeys(PARTS, REPORT_ROWS)).items() if len(found[1])}
    ends = np.cumsum([0, *(len(labels) for _, labels in taken.values())])
    rows = {name: np.arange(*span) for name, span in zip(taken, itertools.pairwise(ends), strict=True)}
    notes = list(inspected.notes)
    bad = log.counts.rejected
    if bad:
        notes.append(describe_dropped(bad, log.faults, log.describe(source)))
    notes.append(
        "The table was streamed from disk"
        + (": all rows of a customer are in the same set." if inspected.has_identifier else ".")
    )
    notes += repeats.describe(inspected.schema.identifier if inspected.has_identifier else None)
    shown = [
        f"{len(rows[name]):,} of {counts[name]:,} {name} customers" for name in rows if len(rows[name]) < counts[name]
    ]
    if shown:
        notes.append(
            f"Figures, intervals and tables are computed on a random sample: {', '.join(shown)}. The metrics of each "
            "set, the histograms for drift and the training of the network use all rows."
        )
    used = sum(counts.values())
    source_facts = {
        "file": source.path.name,
        "sha256": source.digest(),
        "rows": log.counts.rows,
        "rows_used": used,
        "rows_with_faults": bad,
        "positive_share": float(statistics.classes[:, 1].sum() / used),
        "columns_dropped": dict(inspected.dropped),
        "classes": asdict(inspected.classes),
        "has_identifier": inspected.has_identifier,
    }
    schema = with_trained_ranges(inspected.schema, statistics.ranges())
    raw, labels = (np.concatenate(pieces) for pieces in zip(*taken.values(), strict=True))
    return StreamedTable(shards, Dataset(schema, raw, labels, source_facts, tuple(notes)), rows, counts)
