"""`churn score`: a file of customers in, a file of probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import score_spark, score_sql
from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from churn.engines import EngineChoice

ONLY_TABLES = ("table", "rejects_table", "key", "keep", "max_rejects", "resume", "summary")
"""Options that a file on one machine does not have."""


@click.command()
@click.argument("source", metavar="[INPUT]", required=False)
@click.option("--output", help="File to write; with --spark, a folder.")
@models_option
@engine_option
@score_sql.add_options
@score_spark.add_options
@click.option("--keep", multiple=True, metavar="COLUMN", help="Column to pass through; may be given several times.")
@click.option("--max-rejects", metavar="N|P%", help="Fail where more rows than this can't be scored.")
@click.option("--resume", is_flag=True, help="Go on with what a killed job left.")
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of what was done.")
def score(source: str | None, output: str | None, models: Path, engine: EngineChoice, **options: Any) -> None:  # noqa: ANN401
    """Score every customer of INPUT (.csv or .parquet) with the current model.

    OUTPUT (.csv or .parquet) gets the identifier, probability, churn and model_version, in the order of INPUT. It
    appears when it is whole. With --sql, the rows of a query are scored into a table
    (docs/batch-sql.md); with --spark, INPUT may be anything Spark reads (docs/batch-spark.md).

    Example: churn score customers.csv --output scores.csv
    """
    if options["sql"] is not None:
        if source is not None or output is not None or options["spark"] is not None:
            raise click.UsageError(
                "--sql reads its rows from --url and writes them to --table: no INPUT, --output, --spark"
            )
        return score_sql.run(models, engine, options)
    if options["spark"] is not None:
        return score_spark.run(source, output, models, engine, options)
    if source is None or output is None:
        raise click.UsageError("score needs INPUT and --output, or --sql with --url and --table")
    wrong = [f"--{name.replace('_', '-')}" for name in ONLY_TABLES if options[name]]
    if wrong:
        raise click.UsageError(f"{', '.join(wrong)}: only with --sql or --spark")
    from batch.score import score_file
    from churn.registry import Registry
    from churn.scorer import load_scorer

    scorer = load_scorer(Registry(models).current_folder(), engine)
    summary = score_file(scorer, Path(source), Path(output))
    click.echo(
        f"{summary.customers:,} customers scored with version {scorer.version}: {summary.leavers:,} are said to leave "
        f"({summary.customers_per_second:,.0f} a second); the result is in {output}"
    )
    return None
