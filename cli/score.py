"""`churn score`: score customers in files, pipes and databases, or on Spark."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.errors import ChurnError
from cli import score_files, score_spark, score_sql
from cli.extras import require_extra
from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batch.job_options import RejectLimit
    from churn.engines import EngineChoice
    from churn.reasons.strongest import Wanted


def _parse_limit(context: click.Context, parameter: click.Parameter, text: str | None) -> RejectLimit | None:  # noqa: ARG001  click's signature
    from batch.job_options import RejectLimit

    return None if text is None else RejectLimit.parse(text)


def _parse_reasons(context: click.Context, parameter: click.Parameter, text: str | None) -> Wanted | None:  # noqa: ARG001  click's signature
    from churn.reasons.strongest import read_wanted

    try:
        return None if text is None else read_wanted(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("source", metavar="[INPUT]", required=False)
@click.option("--output", help="Output file, or - for standard output; a folder with --spark.")
@models_option
@engine_option
@score_files.add_options
@score_sql.add_options
@score_spark.add_options
@click.option(
    "--decimal",
    type=click.Choice([".", ","]),
    help="Decimal separator of numbers in text; with a comma, points may separate thousands.  [default: detected]",
)
@click.option("--keep", multiple=True, metavar="COLUMN", help="Copy an input column to the output; repeatable.")
@click.option(
    "--reasons",
    metavar="N|all",
    callback=_parse_reasons,
    help="Add the N strongest reasons of each score, with their points and a sentence.",
)
@click.option(
    "--max-rejects", metavar="N|P%", callback=_parse_limit, help="Fail if more rows than this can't be scored."
)
@click.option("--resume", is_flag=True, help="Continue a job that was killed or interrupted.")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "replace"]),
    default="fail",
    show_default=True,
    help="What to do if the output exists.",
)
@click.option(
    "--records",
    metavar="URL",
    help="Record the job in this store (SQLAlchemy URL), with the hashes of the files or rows read and written.",
)
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Write a JSON summary to this file.")
def score(source: str | None, output: str | None, models: Path, engine: EngineChoice, **options: Any) -> None:  # noqa: ANN401
    """Score every customer in INPUT with the current model.

    INPUT is a file, a folder, a glob, or - for standard input: CSV (.csv, .csv.gz, .csv.zst), Parquet or Arrow IPC, on
    this machine or given as a URI (s3://, gs://, hdfs://). The output has the identifier, probability, churn and
    model_version, in the order of INPUT. Rows that can't be scored are written to OUTPUT.rejects. Both files appear
    only when they are complete (docs/batch.md).

    With --sql, the rows of a query are scored into a table (docs/batch-sql.md). With --spark, INPUT can be anything
    that Spark reads (docs/batch-spark.md).

    Exit codes: 0 success; 1 error, with the reason; 2 too many rejects or wrong usage; 130 interrupted.

    Example: churn score customers.csv --output scores.csv
    """
    if options["sql"] is not None:
        if source is not None or output is not None or options["spark"] is not None:
            raise click.UsageError(
                "--sql reads from --url and writes to --table; it can't be combined with INPUT, --output or --spark"
            )
        _refuse(options, (*score_files.NAMES, "decimal"), "not allowed with --sql")
        with _recording(options["records"], "sql") as record:
            record(score_sql.run(models, engine, options))
        return
    _refuse(options, ("table", "rejects_table", "key"), "allowed only with --sql")
    if options["spark"] is not None:
        _refuse(options, score_files.NAMES, "not allowed with --spark")
        with _recording(options["records"], "spark") as record:
            record(score_spark.run(source, output, models, engine, options))
        return
    if source is None or output is None:
        raise click.UsageError("give INPUT and --output, or --sql with --url and --table")
    with _recording(options["records"], "files") as record:
        record(score_files.run(source, output, models, engine, options))


@contextmanager
def _recording(url: str | None, kind: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that records a finished job. The store is opened before the job begins."""
    if url is None:
        yield lambda _: None
        return
    with require_extra("records"):
        from records.jobs import record_job
        from records.store import open_store
    store = open_store(url, create=True)

    def record(summary: dict[str, Any]) -> None:
        try:
            entry = record_job(store, kind, summary)
        except ChurnError as error:
            raise ChurnError(f"the scores are complete, but the job could not be recorded: {error}") from None
        click.echo(f"recorded as entry {entry.number} of the journal", err=True)

    yield record


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    wrong = [f"--{name.replace('_', '-')}" for name in names if options[name]]
    if wrong:
        raise click.UsageError(f"{', '.join(wrong)}: {why}")
