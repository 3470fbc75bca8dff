"""`churn evaluate`: a labelled table in, the scores and the report of a published version out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.numerals import MARKS
from cli.options import costs_options, engine_option, models_option, pop_costs

if TYPE_CHECKING:
    from churn.engines import EngineChoice
    from training.backtest import Evaluation

_MEASURES = ("log_loss", "roc_auc", "average_precision", "accuracy", "brier_score", "calibration_error", "lift")


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@models_option
@click.option("--version", type=int, help="Version to judge.  [default: the current one]")
@engine_option
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("evaluation.html"),
    show_default=True,
    help="HTML file with the scores and pictures, as of training; replaced if it exists.",
)
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of the scores.")
@click.option("--label", help="Label column.  [default: as in training]")
@click.option("--positive", help="Label value that means the customer left.  [default: as in training]")
@click.option("--negative", help="Label value that means the customer stayed; rows of other values are left out.")
@click.option(
    "--drop-rows",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Leave out rows with this value, whatever its case; repeatable.",
)
@click.option("--decimal", type=click.Choice(MARKS), help="Decimal mark of the numbers in a CSV.  [default: inferred]")
@click.option(
    "--on-bad-row",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="Whether rows that can't be scored fail the command or are left out and listed.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="A customer is said to leave above it.  [default: the model's]"
)
@costs_options
def evaluate(
    data: Path,
    models: Path,
    version: int | None,
    engine: EngineChoice,
    report: Path,
    summary: Path | None,
    **chosen: Any,  # noqa: ANN401  the options of click
) -> None:
    """Judge a published version on DATA (.csv or .parquet), whose customers' labels are known by now.

    Columns are read as the model reads them, and the label as its training did. Nothing is published.

    Example: churn evaluate customers.csv --version 3 --report evaluation.html
    """
    from churn.registry import Registry
    from churn.runtime.files import replace_text
    from training.backtest import Choices
    from training.backtest import evaluate as judge

    registry = Registry(models)
    folder = registry.current_folder() if version is None else registry.folder(version)
    choices = Choices(costs=pop_costs(chosen), **chosen)
    found = judge(folder, data, choices, engine, shlex.join(["churn", *sys.argv[1:]]))
    found.write_report(report)
    if summary is not None:
        replace_text(summary, json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n")
    _print(found)
    click.echo(f"the report is in {report}")


def _print(found: Evaluation) -> None:
    source = found.source
    click.echo(
        f"{source['file']}: {source['rows_used']:,} customers, {source['positive_share']:.2%} of whom left, judged by "
        f"version {found.version}"
    )
    for note in found.notes:
        click.echo(f"  {note}")
    click.echo(f"\n{'':<18}{'this table':>12}" + (f"{'test part':>12}" if found.trained else ""))
    for name in _MEASURES:
        trained = f"{found.trained[name]:>12.4f}" if found.trained else ""
        click.echo(f"{name.replace('_', ' '):<18}{getattr(found.scores, name):>12.4f}{trained}")
    (stay_right, stay_wrong), (leave_wrong, leave_right) = found.scores.confusion_matrix
    click.echo(
        f"above {found.threshold:g}: {stay_wrong:,} of {stay_right + stay_wrong:,} who stayed, "
        f"{leave_right:,} of {leave_wrong + leave_right:,} who left"
    )
