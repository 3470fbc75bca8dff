"""`churn tune`: a table in, hyperparameters for `churn train --config` out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.dataset import dataset_options, load_told, print_dataset

EXIT_INTERRUPTED = 130


@click.command()
@click.argument("data", type=click.Path(dir_okay=False, path_type=Path))
@dataset_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("tuned.toml"),
    show_default=True,
    help="The configuration file. The trials are kept beside it (.sqlite); started again, the search goes on.",
)
@click.option(
    "--minutes", default=30.0, show_default=True, type=click.FloatRange(0), help="Time for the search of this run."
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Configurations to try, those of earlier runs among them; no limit if not given.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed, the same trials.")
@click.option(
    "--test-size",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the rows that is never looked at: those churn train holds out with this size and seed.",
)
@click.option("--parts", default=5, show_default=True, type=click.IntRange(2), help="Parts of the cross-validation.")
@click.option(
    "--members",
    default=5,
    show_default=True,
    type=click.IntRange(1),
    help="Networks taught for each part: fewer than are shipped, to be quicker.",
)
@click.option(
    "--confirm",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="Other seeds on which the best is held against what is shipped, once the search is over; 0: none.",
)
def tune(data: Path, output: Path, **chosen: Any) -> None:  # noqa: ANN401  the options of click
    """Search hyperparameters of the default network for DATA (.csv or .parquet).

    Looks at validation parts alone, gives up early on what is worse, and writes the best so far to --output, which
    churn train takes with --config. The first to be tried is what is shipped.

    Example: churn tune mybank.csv --label left --id client_no --trials 20
    """
    from training.tuning.errors import check_output, require_optuna

    require_optuna()
    check_output(output)
    dataset = load_told(data, chosen)
    print_dataset(dataset)
    from training.tuning.job import TuningOptions
    from training.tuning.job import tune as run

    try:
        found = run(dataset, output, TuningOptions(**chosen), click.echo)
    except KeyboardInterrupt:
        so_far = f"the best so far is in {output}; " if output.exists() else ""
        click.echo(f"\ninterrupted: {so_far}the same command goes on where it was", err=True)
        click.get_current_context().exit(EXIT_INTERRUPTED)
    click.echo()
    for line in found.describe():
        click.echo(line)
    click.echo(f"the configuration is in {output}: churn train {data} --config {output}")
