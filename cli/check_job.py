"""`churn records check-job`: compare what a batch job read or wrote with the current data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from churn.errors import ChurnError
from cli.extras import require_extra
from cli.options import models_option, store_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from batch.checked import Checked, Part


@click.command("check-job")
@click.argument("entry", type=int)
@click.option(
    "--part",
    type=click.Choice(["input", "output", "rejects"]),
    default="output",
    show_default=True,
    help="Part of the job to compare.",
)
@click.option(
    "--rows", metavar="QUERY|PATH", help="Current location: a query, file or folder.  [default: where the job had it]"
)
@click.option(
    "--database",
    envvar="CHURN_SQL_URL",
    show_envvar=True,
    help="SQLAlchemy URL of the database that has the rows of an SQL job.",
)
@click.option(
    "--spark",
    metavar="MASTER",
    default="local[*]",
    show_default=True,
    help="Master that reads the rows of a Spark job.",
)
@models_option
@store_option
@require_extra("records")
def check_job(
    entry: int, part: Part, rows: str | None, database: str | None, spark: str, models: Path, url: str
) -> None:
    """Compare what a batch job read or wrote with the current data, by the hashes in ENTRY of the journal.

    ENTRY is a number that `churn records jobs` lists. Files are compared byte by byte. Rows of tables are compared in
    any order, in the columns that were recorded. Exit code 1 if something differs.

    Example: churn records check-job 12 --database postgresql://user@host/warehouse
    """
    from records.listing import find_job
    from records.store import open_store

    job = find_job(open_store(url), entry)
    if job["kind"] == "sql":
        if database is None:
            raise click.UsageError("the job read and wrote tables of a database: give --database")
        checked = _check_sql(job, part, rows, database)
    elif job["kind"] == "spark":
        checked = _check_spark(job, part, rows, spark, models)
    else:
        checked = _check_files(job, part, rows)
    different = [one for one in checked if not one.is_same]
    for one in checked:
        click.echo(f"{one.name}: {one.found}", err=not one.is_same)
    for one in different:
        click.echo(f"{one.name}: recorded {one.recorded}", err=True)
    if different:
        raise ChurnError(f"the {part} differs from the record of {job['recorded']}")
    click.echo(f"the {part} matches the record of {job['recorded']}")


@require_extra("sql")
def _check_sql(job: Mapping[str, Any], part: Part, query: str | None, url: str) -> list[Checked]:
    from batch.sql.check import check_table

    return [check_table(job, part, url, query)]


@require_extra("batch")
def _check_files(job: Mapping[str, Any], part: Part, path: str | None) -> list[Checked]:
    from batch.files.check import check_files

    return check_files(job, part, path)


@require_extra("spark")
def _check_spark(job: Mapping[str, Any], part: Part, path: str | None, master: str, models: Path) -> list[Checked]:
    from batch.spark.check import check_table
    from batch.spark.session import open_session
    from churn.registry import Registry

    with open_session(master) as session:
        return [check_table(session, Registry(models), job, part, path)]
