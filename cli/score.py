"""`churn score`: a file of customers in, a file of probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from churn.engines import EngineChoice


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
@models_option
@engine_option
def score(source: Path, output: Path, models: Path, engine: EngineChoice) -> None:
    """Score every customer of INPUT (.csv or .parquet) with the current model.

    OUTPUT (.csv or .parquet) gets the identifier, probability, churn and model_version, in the order of INPUT. It
    appears when it is whole.

    Example: churn score customers.csv --output scores.csv
    """
    from batch.score import score_file
    from churn.registry import Registry
    from churn.scorer import load_scorer

    scorer = load_scorer(Registry(models).current_folder(), engine)
    summary = score_file(scorer, source, output)
    click.echo(
        f"{summary.customers:,} customers scored with version {scorer.version}: {summary.leavers:,} are said to leave "
        f"({summary.customers_per_second:,.0f} a second); the result is in {output}"
    )
