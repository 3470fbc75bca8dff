"""Compare tables with what a recorded job read or wrote on Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch.checked import compare_rows, require_hash
from batch.spark.hashing import hash_frame
from batch.spark.tables import Folder, read_table
from batch.spark.told import explaining
from churn.bundle import read_bundle
from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from batch.checked import Checked, Part
    from churn.registry import Registry


def check_table(
    spark: SparkSession, models: Registry, job: Mapping[str, Any], part: Part, path: str | None = None
) -> Checked:
    """Compare the rows of a table with those of a recorded job.

    Only the recorded columns count; more of them may be there.

    Parameters
    ----------
    spark : SparkSession
    models : Registry
        Has the job's model, by whose columns its input is read; not used for what it wrote.
    job : mapping
        Of `records.listing.list_jobs`.
    part : {"input", "output", "rejects"}
    path : str, optional
        Where the table is now. Defaults to where it was.

    Raises
    ------
    TableError
        If the rows can't be read or lack a column.
    BundleError
        If the model is missing or altered.
    ChurnError
        If the job has no hash of this part.
    """
    recorded = require_hash(job, part, f"{part}_rows")
    name = path or str(job[{"input": "source"}.get(part, part)])
    with explaining(name):
        if part == "input":
            frame, _ = read_table(spark, name, read_bundle(models.folder(int(job["model_version"]))).manifest.schema)
        else:
            frame = Folder(spark, name).read()
        absent = [column for column in recorded["columns"] if column not in frame.columns]
        if absent:
            raise TableError(f"{name}: lacks columns: {', '.join(absent)}")
        return compare_rows(name, recorded, hash_frame(frame, recorded["columns"]))
