"""`churn simulate`: bank customers that are nobody."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--rows", default=10_000, show_default=True, type=click.IntRange(1), help="Customers to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="The same seed draws the same.")
@click.option("--with-truth", is_flag=True, help="Write each customer's true probability beside him.")
def simulate(output: Path, rows: int, seed: int, *, with_truth: bool) -> None:
    """Draw bank customers and write them to OUTPUT (.csv or .parquet).

    The columns are those of Churn_Modelling.csv; docs/simulator.md has the law.

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
    click.echo(f"{rows:,} customers are in {output}")
