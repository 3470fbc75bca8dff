"""`churn tune`: search hyperparameters for `churn train --config`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.dataset import dataset_options, load_from_options, print_dataset
from cli.extras import require_extra

EXIT_INTERRUPTED = 130


@click.command()
@click.argument("data", type=click.Path(dir_okay=False, path_type=Path))
@dataset_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("tuned.toml"),
    show_default=True,
    help="Configuration file to write. Trials are stored next to it (.sqlite); running again continues the search.",
)
@click.option(
    "--minutes", default=30.0, show_default=True, type=click.FloatRange(0), help="Time limit of this run, in minutes."
)
@click.option(
    "--trials",
    type=click.IntRange(1),
    help="Maximum number of trials, earlier runs included.  [default: no limit]",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option(
    "--test-size",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Fraction of the rows that the search never sees: the test set of churn train with this size and seed.",
)
@click.option("--parts", default=5, show_default=True, type=click.IntRange(2), help="Folds of the cross-validation.")
@click.option(
    "--members",
    default=5,
    show_default=True,
    type=click.IntRange(2),
    help="Inner folds, on which each trial trains and weights its models, like the key folds of --config.",
)
@click.option(
    "--confirm",
    default=3,
    show_default=True,
    type=click.IntRange(0),
    help="Number of further seeds on which the best trial is compared with the defaults at the end; 0 for none.",
)
@require_extra("tune")
def tune(data: Path, output: Path, **chosen: Any) -> None:  # noqa: ANN401  options of click
    """Search hyperparameters of the default network on DATA (.csv or .parquet).

    Uses cross-validation only, prunes bad trials early, and writes the best trial so far to --output for churn train
    --config. The first trial is the default configuration.

    Example: churn tune mybank.csv --label left --id client_no --trials 20
    """
    from training.tuning.errors import check_output, require_optuna

    require_optuna()
    check_output(output)
    dataset = load_from_options(data, chosen)
    print_dataset(dataset)
    from training.tuning.job import TuningOptions
    from training.tuning.job import tune as run

    try:
        found = run(dataset, output, TuningOptions(**chosen), click.echo)
    except KeyboardInterrupt:
        so_far = f"the best trial so far is in {output}; " if output.exists() else ""
        click.echo(f"\ninterrupted: {so_far}run the same command to continue", err=True)
        click.get_current_context().exit(EXIT_INTERRUPTED)
    click.echo()
    for line in found.describe():
        click.echo(line)
    click.echo(f"wrote the configuration to {output}; train with: churn train {data} --config {output}")
