"""`churn evaluate`: evaluate a published version on a labelled table."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.numerals import MARKS
from cli.extras import require_extra
from cli.options import costs_options, engine_option, models_option, pop_costs

if TYPE_CHECKING:
    from churn.engines import EngineChoice
    from training.backtest import Evaluation

_MEASURES = ("log_loss", "roc_auc", "average_precision", "accuracy", "brier_score", "calibration_error", "lift")


@click.command()
@click.argument("data", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@models_option
@click.option("--version", type=int, help="Version to evaluate.  [default: the current one]")
@engine_option
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("evaluation.html"),
    show_default=True,
    help="HTML report to write, replaced if it exists.",
)
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), help="Write the metrics to this JSON file.")
@click.option("--label", help="Label column.  [default: as in training]")
@click.option("--positive", help="Label value that means the customer left.  [default: as in training]")
@click.option("--negative", help="Label value that means the customer stayed; rows with other values are excluded.")
@click.option(
    "--drop-rows",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Exclude rows with this value (case-insensitive); repeatable.",
)
@click.option(
    "--decimal", type=click.Choice(MARKS), help="Decimal separator of the numbers in a CSV.  [default: detected]"
)
@click.option(
    "--on-bad-row",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="Whether rows that can't be scored fail the command or are dropped and listed.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Decision threshold.  [default: the model's]")
@costs_options
@require_extra("train,tensorflow")
def evaluate(
    data: Path,
    models: Path,
    version: int | None,
    engine: EngineChoice,
    report: Path,
    summary: Path | None,
    **chosen: Any,  # noqa: ANN401  options of click
) -> None:
    """Evaluate a published version on DATA (.csv or .parquet), a table with labels.

    Columns are read as by the model, and the label as in its training. Nothing is published.

    Example: churn evaluate customers.csv --report evaluation.html
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
    click.echo(f"wrote the report to {report}")


def _print(found: Evaluation) -> None:
    source = found.source
    click.echo(
        f"{source['file']}: {source['rows_used']:,} customers, {source['positive_share']:.2%} left, scored with "
        f"version {found.version}"
    )
    for note in found.notes:
        click.echo(f"  {note}")
    click.echo(f"\n{'':<18}{'this table':>12}" + (f"{'test set':>12}" if found.trained else ""))
    for name in _MEASURES:
        trained = f"{found.trained[name]:>12.4f}" if found.trained else ""
        click.echo(f"{name.replace('_', ' '):<18}{getattr(found.scores, name):>12.4f}{trained}")
    (stay_right, stay_wrong), (leave_wrong, leave_right) = found.scores.confusion_matrix
    click.echo(
        f"threshold {found.threshold:g}: {leave_right:,} of {leave_wrong + leave_right:,} leavers found; "
        f"{stay_wrong:,} of {stay_right + stay_wrong:,} stayers predicted to leave"
    )
