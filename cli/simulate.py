"""`churn simulate`: simulate bank customers."""

from __future__ import annotations

from pathlib import Path

import click

from cli.extras import require_extra


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="Number of customers.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option("--with-truth", is_flag=True, help="Add each customer's true probability as a column.")
@require_extra("train")
def simulate(output: Path, rows: int, seed: int, *, with_truth: bool) -> None:
    """Simulate bank customers and write them to OUTPUT (.csv or .parquet).

    The columns are those of Churn_Modelling.csv; docs/simulator.md documents the distributions.

    Example: churn simulate --rows 10000 customers.csv
    """
    from tqdm import tqdm

    from churn.errors import TableError
    from training.simulate import write_simulated

    with tqdm(total=rows, desc="simulating", unit="row", unit_scale=True, disable=None) as bar:
        try:
            write_simulated(output, rows, seed, truth=with_truth, progress=bar.update)
        except (ValueError, OSError) as error:
            raise TableError(str(error)) from error
    click.echo(f"wrote {rows:,} customers to {output}")
