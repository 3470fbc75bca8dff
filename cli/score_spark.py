"""`churn score --spark`: score a table into folders of scores and rejects, on a cluster or on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from churn.errors import EngineError
from cli.score_end import describe, exit_codes, print_notes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from churn.engines import EngineChoice

add_options = click.option(
    "--spark",
    metavar="MASTER",
    help="Score on Spark with this master: local[2], yarn, spark://host:7077, k8s://…, or submit under spark-submit.",
)


def run(
    source: str | None, output: str | None, models: Path, engine: EngineChoice, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Score a table on Spark.

    Parameters
    ----------
    source, output : str
        See `batch.spark.job.SparkJob`.
    models : Path
        Folder of the model versions, on the driver.
    engine : {"auto", "onnx", "tensorflow"}
        Inference engine on the executors; auto means ONNX Runtime.
    options : mapping of str to object
        ``spark``, ``keep``, ``max_rejects``, ``records``, ``resume`` and ``summary``.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    click.UsageError
        If ``INPUT`` or ``--output`` is missing, or ``--resume`` is given.
    EngineError
        If pyspark or Java is not installed.
    """
    if source is None or output is None:
        raise click.UsageError("--spark needs INPUT and --output")
    if options["resume"]:
        raise click.UsageError("--resume is not allowed with --spark: Spark retries tasks, a killed job starts over")
    try:
        import pyspark  # noqa: F401
    except ModuleNotFoundError as error:
        raise EngineError("Spark is not installed: pip install 'churn[spark]'") from error
    from batch.spark.job import SparkJob, score_table
    from batch.spark.session import open_session
    from churn.registry import Registry
    from churn.runtime.files import replace_text

    job = SparkJob(
        source,
        output,
        options["decimal"],
        keep=options["keep"],
        max_rejects=options["max_rejects"],
        reasons=options["reasons"],
        has_hashes=options["records"] is not None,
    )
    model = Registry(models).current_folder()
    with exit_codes("nothing was published"), open_session(options["spark"]) as session:
        summary = score_table(session, model, "onnx" if engine == "auto" else engine, job)
    if options["summary"] is not None:
        replace_text(options["summary"], json.dumps(summary, indent=1) + "\n")
    print_notes(summary)
    click.echo(describe(summary, summary["output"], summary["rejects"]))
    return summary
