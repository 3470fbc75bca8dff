"""Score a table on Spark into two folders, renamed when every row is in exactly one of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import functions as sf

from batch.chunk import name_answer
from batch.columns import explain_row_numbers
from batch.job_options import JobOptions
from batch.spark.bundle import pack_bundle
from batch.spark.frame import score_frame, split
from batch.spark.hashing import collect_hash, hash_frame, list_hashed
from batch.spark.rows import PART, WRONG
from batch.spark.tables import Folder, read_table
from batch.spark.told import explaining
from churn.names import normalize_names
from churn.tables.scored import name_reason
from churn.tables.tally import RowCounts

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from churn.engines import EngineChoice


@dataclass(frozen=True, slots=True)
class SparkJob(JobOptions):
    """Parameters of a job, besides those of any job.

    Attributes
    ----------
    source : str
        A file, folder or glob on any file system that Spark supports; see `read_table`.
    output : str
        Folder for the scores: CSV if its name ends with ``.csv``, otherwise Parquet. Rejects are written to the
        folder with ``.rejects`` appended.
    decimal : {".", ","}, optional
        Decimal separator of numbers in text. Detected in the first rows of a CSV by default.
    """

    source: str
    output: str
    decimal: str | None = None


def score_table(spark: SparkSession, model: Path, engine: EngineChoice, job: SparkJob) -> dict[str, Any]:
    """Score every row of a table.

    Parameters
    ----------
    spark : SparkSession
    model : Path
        Folder of the model version on the driver; it is sent to the executors.
    engine : {"auto", "onnx", "tensorflow"}
        Inference engine on the executors.
    job : SparkJob

    Returns
    -------
    dict
        The summary as plain data.

    Raises
    ------
    TableError
        If the table can't be read or a folder exists.
    BundleError
        If a file of the model is missing or altered.
    TooManyRejectsError
        If the limit is exceeded; nothing is published.
    """
    started = time.perf_counter()
    manifest, bundle = pack_bundle(model, engine, job.reasons)
    scores, rejects = (Folder(spark, job.output + ending) for ending in ("", ".rejects"))
    for folder in (scores, rejects):
        folder.require_absent()
    with explaining(job.source):
        frame, text = read_table(spark, job.source, manifest.schema, job.decimal)
        packed = spark.sparkContext.broadcast(bundle)
        scored = score_frame(frame, packed, manifest.schema, job.keep, text, has_hashes=job.has_hashes)
        scored = scored.persist(StorageLevel.MEMORY_AND_DISK)
        hashes: dict[str, Any] = {}
        try:
            identifier = manifest.schema.identifier
            counts = _count(scored, name_answer(identifier, normalize_names(job.keep))[1])
            if job.max_rejects is not None:
                job.max_rejects.check(counts)
            outcome = split(scored, identifier, has_identifier=identifier in frame.columns)
            for folder, table in zip((rejects, scores), reversed(outcome), strict=True):
                folder.write_aside(table)
            for row in rejects.read_aside().groupBy("column", "reason").count().collect():
                counts.reasons[name_reason(row["column"], row["reason"])] += row["count"]
            found = (scores.read_aside().count(), rejects.read_aside().select("row").distinct().count())
            counts.check_written(scores.name, "folders", found)
            if job.has_hashes:
                read = collect_hash(scored, list_hashed(frame.columns, manifest.schema, job.keep))
                written = {"output": hash_frame(scores.reread_aside()), "rejects": hash_frame(rejects.reread_aside())}
                hashes = {f"{part}_rows": one.describe() for part, one in {"input": read, **written}.items()}
            rejects.publish()
            scores.publish()
        finally:
            scored.unpersist()
            packed.destroy()
            for folder in (scores, rejects):
                folder.remove_aside()
    return {
        **counts.summarize(),
        "model_version": str(manifest.version),
        "manifest_sha256": manifest.content["manifest_sha256"],
        "source": job.source,
        "output": scores.name,
        "rejects": rejects.name,
        **hashes,
        "notes": list(explain_row_numbers(job.source, frame.columns, manifest.schema)),
        "master": spark.sparkContext.master,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _count(scored: DataFrame, decision: str) -> RowCounts:
    is_scored = sf.col(WRONG).isNull().cast("bigint")
    row = scored.agg(
        sf.count(PART).alias("rows"),
        sf.coalesce(sf.sum(is_scored), sf.lit(0)).alias("accepted"),
        sf.coalesce(sf.sum(sf.col(decision).cast("bigint")), sf.lit(0)).alias("leavers"),
    ).collect()[0]
    return RowCounts(row["rows"], row["accepted"], row["leavers"])
