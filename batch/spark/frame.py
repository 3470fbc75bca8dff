"""Score a Spark DataFrame batch by batch with the same code as on one machine."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from pyspark import TaskContext
from pyspark.sql import functions as sf
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from batch.chunk import name_answer
from batch.columns import choose_columns
from batch.spark.bundle import load_packed
from batch.spark.columns import choose, quote
from batch.spark.hashing import HASH, attach_hash, list_hashed
from batch.spark.rows import INDEX, NAME, PART, RAGGED, REASONS, WRONG, TextFormat, score_rows
from batch.spark.session import quiet_about_pandas
from churn.names import ROW, normalize_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from batch.spark.bundle import PackedBundle
    from churn.schema import Schema

_BEFORE, _NUMBER = "__before", "__number"
"""Columns with the number of rows in the preceding partitions, and with the row number, counted from 1."""


class Outcome(NamedTuple):
    """The output tables of a job, with the same columns as on one machine."""

    scores: DataFrame
    rejects: DataFrame


def score_frame(
    frame: DataFrame,
    packed: Broadcast[PackedBundle],
    schema: Schema,
    keep: Sequence[str] = (),
    text: TextFormat | None = None,
    *,
    has_hashes: bool = False,
) -> DataFrame:
    """Score every row of a DataFrame into one output row; `split` separates scores from rejects.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Columns are found by name, in any order; numbers may be given as strings.
    packed : pyspark.Broadcast of PackedBundle
        Loaded once per Python worker.
    schema : Schema
        Schema of that model.
    keep : sequence of str
        Columns to copy to the scores.
    text : TextFormat, optional
        Format of numbers and fields in text. Defaults to decimal points.
    has_hashes : bool
        Whether to add the column `HASH`, whose sum `batch.spark.hashing.collect_hash` returns for the columns of
        `batch.spark.hashing.list_hashed`.

    Raises
    ------
    TableError
        If a column is missing or occurs twice, or a column to keep has the name of the identifier.
    """
    keep = tuple(dict.fromkeys(normalize_names(keep)))
    columns = choose_columns([name for name in frame.columns if name != RAGGED], schema, keep)
    names, plain = choose(frame, columns)
    reasons = StructType([StructField(field.name, StringType()) for field in REASONS])
    told = packed.value.reason_columns
    kinds = [DoubleType() if kind == "number" else StringType() for _, kind in told]
    names_of_answer = name_answer(schema.identifier, keep, [name for name, _ in told])
    form = [
        StructField(PART, IntegerType()),
        StructField(INDEX, LongType()),
        StructField(NAME, StringType()),
        *(StructField(name, frame.schema[name].dataType) for name in keep),
        *map(StructField, names_of_answer, (DoubleType(), BooleanType(), StringType(), *kinds)),
        StructField(WRONG, ArrayType(reasons)),
        *([StructField(HASH, StringType())] if has_hashes else []),
    ]
    hashed = list_hashed(names, schema, keep) if has_hashes else ()
    score = partial(_score_partition, packed=packed, keep=keep, names=names, text=text or TextFormat(), hashed=hashed)
    with quiet_about_pandas():
        return plain.mapInArrow(score, StructType(form))


def split(scored: DataFrame, identifier: str, *, has_identifier: bool = True) -> Outcome:
    """Separate the output of `score_frame` into scores and rejects, with rows numbered from 1 in Spark's reading order.

    Parameters
    ----------
    scored : pyspark.sql.DataFrame
        Evaluated several times, so it should be persisted.
    identifier : str
        Name of the identifier in the schema.
    has_identifier : bool
        Whether the table has this column; if not, the scores have a column with row numbers.
    """
    counts = sorted((row[PART], row["count"]) for row in scored.groupBy(PART).count().collect())
    before = [0, *accumulate(count for _, count in counts)]
    starts = [(part, rows) for (part, _), rows in zip(counts, before, strict=False)]
    with quiet_about_pandas():
        known = scored.sparkSession.createDataFrame(starts, f"{PART} int, {_BEFORE} bigint")
    numbered = scored.join(sf.broadcast(known), PART).withColumn(_NUMBER, sf.col(_BEFORE) + sf.col(INDEX) + 1)
    first = sf.col(NAME).alias(identifier) if has_identifier else sf.col(_NUMBER).alias(ROW)
    scores = numbered.where(sf.col(WRONG).isNull()).select(
        first, *(sf.col(quote(name)) for name in scored.columns if name not in (PART, INDEX, NAME, WRONG, HASH))
    )
    rejects = numbered.where(sf.col(WRONG).isNotNull()).select(
        sf.col(_NUMBER).alias("row"), sf.col(NAME).alias("identifier"), sf.explode(WRONG).alias("wrong")
    )
    return Outcome(scores, rejects.select("row", "identifier", "wrong.*"))


def _score_partition(
    batches: Iterator[pa.RecordBatch],
    packed: Broadcast[PackedBundle],
    keep: Sequence[str],
    names: Sequence[str],
    text: TextFormat,
    hashed: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """Score one partition in a Python worker, and hash some of its columns, if any."""
    scorer, writer = load_packed(packed.value)
    task = TaskContext.get()
    done = 0
    for batch in batches:
        part = task.partitionId() if task else 0
        named = batch.rename_columns(names)
        scored = score_rows(scorer, named, done, part, keep, text, writer)
        yield from attach_hash(scored, named, hashed) if hashed else scored
        done += len(batch)
