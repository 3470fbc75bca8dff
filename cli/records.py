"""`churn records`: find, verify, replay, judge, export, prune and erase the records of scored customers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.errors import ChurnError
from cli.check_job import check_job
from cli.extras import require_extra
from cli.judging import compare, judge, report
from cli.options import engine_option, models_option, store_option

if TYPE_CHECKING:
    from churn.engines import EngineChoice


class Moment(click.ParamType[int]):
    """A date, a date with a time, or an age."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the time in microseconds since 1970."""
        from records.times import parse

        if isinstance(value, int):
            return value
        try:
            return parse(value)
        except ChurnError as error:
            self.fail(str(error), param, ctx)


since_option = click.option("--since", type=Moment(), help="Earliest time, e.g. 2026-03-01 or 30d (ago).")
until_option = click.option("--until", type=Moment(), help="End of the period (exclusive).")


@click.group()
def records() -> None:
    """Find, verify, replay, judge, export, prune and erase the records of scored customers.

    `churn serve` with CHURN_RECORDS and `churn score --records` write them.
    """


@records.command()
@click.option("--customer", help="Identifier of the customer.")
@click.option("--request", help="Identifier of the request.")
@since_option
@until_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@store_option
@require_extra("records")
def show(
    customer: str | None,
    request: str | None,
    since: int | None,
    until: int | None,
    limit: int,
    as_json: bool,
    url: str,
) -> None:
    """Show the recorded predictions of a customer or request, with version, input and reasons; the newest first.

    Example: churn records show --customer 15634602 --since 2026-03-01
    """
    from records.find import find
    from records.show import describe, to_plain
    from records.store import open_store

    if customer is None and request is None:
        raise click.UsageError("give --customer or --request")
    page = find(open_store(url), customer=customer, request=request, since=since, until=until, limit=limit)
    for record in page.records:
        click.echo(json.dumps(to_plain(record), ensure_ascii=False) if as_json else describe(record))
    if not page.records:
        click.echo("no records", err=True)
    elif page.next is not None:
        click.echo(f"there are more than {limit}; --until and --limit show them", err=True)


@records.command()
@click.option(
    "--seals",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of `churn records seals` that was kept elsewhere; the store must have the same seals.",
)
@store_option
@require_extra("records")
def verify(seals: Path | None, url: str) -> None:
    """Find records, seals and entries of the journal that were changed, removed or reordered.

    Exit code 1 if there are any.

    Example: churn records verify
    """
    from records.seals import read_seals
    from records.store import open_store
    from records.verify import verify as verify_store

    result = verify_store(open_store(url), () if seals is None else read_seals(seals))
    click.echo(
        f"{result.records:,} records of {result.writers:,} writers, {result.erased:,} of them erased; "
        f"{result.seals:,} seals"
    )
    if result.faults:
        for fault in result.faults:
            click.echo(str(fault), err=True)
        raise ChurnError(f"{len(result.faults):,} faults")
    click.echo("nothing was changed, removed or reordered")


@records.command()
@store_option
@require_extra("records")
def seals(url: str) -> None:
    """Print all seals, one JSON object per line. Store them where users of the store have no write access.

    Example: churn records seals >> seals.jsonl
    """
    from records.listing import list_seals
    from records.seals import write_seal
    from records.store import open_store

    for seal in list_seals(open_store(url)):
        click.echo(write_seal(seal))


@records.command()
@click.option("--customer", help="Only the records of this customer.")
@click.option("--request", help="Only those of this request.")
@since_option
@until_option
@models_option
@engine_option
@store_option
@require_extra("records")
def replay(
    customer: str | None,
    request: str | None,
    since: int | None,
    until: int | None,
    models: Path,
    engine: EngineChoice,
    url: str,
) -> None:
    """Score recorded inputs again with the recorded version, and compare all six decimals.

    Exit code 1 if a probability or a decision differs.

    Example: churn records replay --since 7d
    """
    from records.find import select
    from records.replay import Replayer, Tally
    from records.show import make_visible
    from records.store import open_store

    replayer, tally = Replayer(models, engine), Tally()
    for part in select(open_store(url), customer=customer, request=request, since=since, until=until):
        tally.add(replayer.replay(part))
    for one in tally.different:
        click.echo(
            f"request {one.record.request_id}, customer {make_visible(one.record.customer_id or '-')}: recorded "
            f"{one.record.probability:.6f}, replayed {one.probability:.6f}",
            err=True,
        )
    for reason, count in sorted(tally.skipped.items()):
        click.echo(f"{count:,} not replayed: {reason}", err=True)
    click.echo(f"{tally.replayed:,} replayed, {tally.differences:,} different")
    if tally.differences:
        raise ChurnError(f"{tally.differences:,} records differ from the results of their version")


@records.command()
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@since_option
@until_option
@store_option
@require_extra("records")
def export(path: Path, since: int | None, until: int | None, url: str) -> None:
    """Write records to FILE, which ends with .csv or .parquet.

    Example: churn records export march.parquet --since 2026-03-01 --until 2026-04-01
    """
    from records.export import export as export_records
    from records.store import open_store

    click.echo(f"{export_records(open_store(url), path, since=since, until=until):,} records: {path}")


@records.command()
@click.option("--older-than", "before", type=Moment(), required=True, help="Age, e.g. 2y or 90d, or a date.")
@store_option
@require_extra("records")
def prune(before: int, url: str) -> None:
    """Remove old records. Their seals stay, and the rest verifies.

    Example: churn records prune --older-than 2y
    """
    from records.removal import prune as prune_records
    from records.store import open_store
    from records.times import show as show_time

    click.echo(f"{prune_records(open_store(url), before):,} records before {show_time(before)} removed")


@records.command()
@click.option("--customer", required=True, help="Identifier of the customer.")
@store_option
@require_extra("records")
def erase(customer: str, url: str) -> None:
    """Erase identifier, input and reasons of one customer. What was decided stays, and the chain verifies.

    Example: churn records erase --customer 15634602
    """
    from records.removal import erase as erase_records
    from records.store import open_store

    click.echo(f"{erase_records(open_store(url), customer):,} records erased")


@records.command()
@store_option
@require_extra("records")
def jobs(url: str) -> None:
    """List the batch jobs that were recorded as a whole, one JSON object per line.

    `churn records check-job` compares their inputs and outputs with the current data.

    Example: churn records jobs
    """
    from records.listing import list_jobs
    from records.store import open_store

    for job in list_jobs(open_store(url)):
        click.echo(json.dumps(job, ensure_ascii=False))


for command in (check_job, compare, judge, report):
    records.add_command(command)
