"""`churn score`: customers in, probabilities out: files, pipes, tables of a database, or a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import score_files, score_spark, score_sql
from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from churn.engines import EngineChoice


@click.command()
@click.argument("source", metavar="[INPUT]", required=False)
@click.option("--output", help="File to write, - for standard output; with --spark, a folder.")
@models_option
@engine_option
@score_files.add_options
@score_sql.add_options
@score_spark.add_options
@click.option("--keep", multiple=True, metavar="COLUMN", help="Column to pass through; may be given several times.")
@click.option("--max-rejects", metavar="N|P%", help="Fail where more rows than this can't be scored.")
@click.option("--resume", is_flag=True, help="Go on with what a killed job left.")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "replace"]),
    default="fail",
    show_default=True,
    help="What to do where the result exists.",
)
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of what was done.")
def score(source: str | None, output: str | None, models: Path, engine: EngineChoice, **options: Any) -> None:  # noqa: ANN401
    """Score every customer of INPUT with the current model.

    INPUT is a file, a folder, a glob or - for standard input: CSV (.csv, .csv.gz, .csv.zst), Parquet or Arrow IPC, on
    this machine or by a URI (s3://, gs://, hdfs://). OUTPUT gets the identifier, probability, churn and model_version,
    in the order of INPUT; what can't be scored goes to OUTPUT.rejects. Both appear when they are whole (docs/batch.md).
    With --sql, the rows of a query are scored into a table (docs/batch-sql.md); with --spark, INPUT may be anything
    Spark reads (docs/batch-spark.md).

    Exit codes: 0 done; 1 refused, with the reason; 2 too many rejects or wrong usage; 130 interrupted.

    Example: churn score customers.csv --output scores.csv
    """
    if options["sql"] is not None:
        if source is not None or output is not None or options["spark"] is not None:
            raise click.UsageError(
                "--sql reads its rows from --url and writes them to --table: no INPUT, --output, --spark"
            )
        _refuse(options, score_files.NAMES, "not with --sql")
        return score_sql.run(models, engine, options)
    _refuse(options, ("table", "rejects_table", "key"), "only with --sql")
    if options["spark"] is not None:
        _refuse(options, score_files.NAMES, "not with --spark")
        return score_spark.run(source, output, models, engine, options)
    if source is None or output is None:
        raise click.UsageError("score needs INPUT and --output, or --sql with --url and --table")
    return score_files.run(source, output, models, engine, options)


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    wrong = [f"--{name.replace('_', '-')}" for name in names if options[name]]
    if wrong:
        raise click.UsageError(f"{', '.join(wrong)}: {why}")
