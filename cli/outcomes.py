"""`churn outcomes`: load what became of customers into the decision store."""

from __future__ import annotations

from pathlib import Path

import click

from churn.dates import FORMATS
from churn.runtime.imports import block_imports
from cli.extras import require_extra
from cli.options import records_option


@click.group()
def outcomes() -> None:
    """Load outcomes of recorded customers, which `churn records judge` uses."""


@outcomes.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@records_option
@click.option("--customer", default="customer", show_default=True, help="Column of the customer's identifier.")
@click.option("--date", default="date", show_default=True, help="Column of the date.")
@click.option(
    "--left", default="left", show_default=True, help="Column that says who left: 0, 1, yes, no, true, false."
)
@click.option("--date-format", type=click.Choice(FORMATS), help="Format of the dates.  [default: ISO 8601]")
@click.option(
    "--on-bad-row",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="refuse: reject the table if a row is invalid; drop: skip and list invalid rows.",
)
@require_extra("records")
@block_imports()
def load(
    table: Path, records: str, customer: str, date: str, left: str, date_format: str | None, on_bad_row: str
) -> None:
    """Load TABLE (.csv or .parquet) with outcomes of customers.

    A row has a customer, a date, and 1 if the customer left on that date or 0 if it was still a customer then.
    Duplicate rows have no effect. A row that contradicts an earlier one replaces it; `churn outcomes show` prints both.

    Example: churn outcomes load outcomes.csv --records sqlite:////data/records.db
    """
    from records.judging.outcome_file import Columns, read_outcomes
    from records.judging.outcomes import load_outcomes
    from records.store import open_store

    store = open_store(records)
    found = read_outcomes(table, Columns(customer, date, left, date_format or ""))
    if on_bad_row == "refuse":
        found.require_faultless()
    loaded = load_outcomes(store, found)
    if found.faults:
        click.echo(f"left out {found.faulty:,} of {found.rows:,} rows:\n{found.list_faults()}", err=True)
    click.echo(
        f"{table}: {loaded.new:,} new outcomes, {loaded.corrected:,} corrected, {loaded.same:,} known or repeated"
    )


@outcomes.command()
@click.option("--customer", required=True, help="Identifier of the customer.")
@records_option
@require_extra("records")
def show(customer: str, records: str) -> None:
    """Print what is known of a customer, with what was corrected.

    Example: churn outcomes show --customer 15634602 --records sqlite:////data/records.db
    """
    from churn.errors import TableError
    from records.judging.outcomes import find_outcomes
    from records.store import open_store

    found = find_outcomes(open_store(records), customer)
    if not found:
        raise TableError(f"no outcome of customer {customer} is known")
    words = {True: "left", False: "still a customer"}
    for one in found:
        click.echo(f"{one.date}  {words[one.churned]}, loaded {one.loaded}")
        for before in one.corrections:
            click.echo(f"            before: {words[bool(before['churned'])]}, loaded {before['loaded']}")
