"""`churn records judge`, `report` and `compare`: how good recorded decisions were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.horizon import DEFAULT_DAYS, parse_horizon, read_horizon
from churn.registry import Registry
from churn.runtime.imports import block_imports
from cli.extras import require_extra
from cli.options import engine_option, models_option, store_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from churn.bundle import Manifest
    from churn.engines import EngineChoice

_SHOWN = ("share_left", "roc_auc", "log_loss", "precision", "recall", "lift", "calibration_slope",
          "calibration_intercept", "calibration_error")  # fmt: skip

horizon_option = click.option(
    "--horizon",
    help="Days (90d) or weeks (12w) after a record within which a customer must leave for it to have been right.  "
    "[default: that of the current version's training, or 90d]",
)

months_option = click.option(
    "--months",
    default=12,
    show_default=True,
    type=click.IntRange(1, 240),
    help="Number of calendar months, the newest ones with records.",
)


def judging_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a judgement to a command."""
    for option in (months_option, horizon_option, models_option, store_option):
        command = option(command)
    return command


@click.command()
@judging_options
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the result as JSON to this file.",
)
@require_extra("records")
@block_imports()
def judge(url: str, models: Path, horizon: str | None, months: int, json_file: Path | None) -> None:
    """Judge recorded decisions by their outcomes, and store the result.

    Prints measures by month and version. A running service exposes the result as metrics and at GET /performance.

    Example: churn records judge --url sqlite:////data/records.db --horizon 90d
    """
    from churn.runtime.files import replace_text

    judgement = _judge(url, models, horizon, months)
    if json_file is not None:
        replace_text(json_file, json.dumps(judgement, indent=1) + "\n")
    print_judgement(judgement)


@click.command()
@judging_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("judgement.html"),
    show_default=True,
    help="HTML report to write, replaced if it exists.",
)
@require_extra("records,train")
def report(url: str, models: Path, horizon: str | None, months: int, output: Path) -> None:
    """Judge recorded decisions as `churn records judge` does, and write a report.

    Example: churn records report --url sqlite:////data/records.db --output judgement.html
    """
    from training.judged.page import write_judgement

    judgement = _judge(url, models, horizon, months)
    write_judgement(output, judgement)
    print_judgement(judgement)
    click.echo(f"\nwrote the report to {output}")


@click.command()
@judging_options
@engine_option
@click.option("--challenger", type=int, required=True, help="Version that scores the recorded inputs again.")
@click.option("--champion", type=int, help="Version whose records are used.  [default: the current one]")
@click.option(
    "--include-known",
    is_flag=True,
    help="Also use outcomes that were known when the challenger was trained: it was trained on other customers.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the result as JSON to this file.",
)
@require_extra("records")
@block_imports()
def compare(
    url: str,
    models: Path,
    horizon: str | None,
    months: int,
    engine: EngineChoice,
    challenger: int,
    champion: int | None,
    include_known: bool,
    json_file: Path | None,
) -> None:
    """Compare two versions on the same recorded customers, and say whether to promote the challenger.

    The differences are paired, with 95 % intervals. Nothing is promoted (churn models promote).

    Example: churn records compare --challenger 2 --url sqlite:////data/records.db
    """
    from churn.runtime.files import replace_text
    from churn.scorer import load_scorer
    from records import times
    from records.judging.compare import compare as judge_both
    from records.judging.judge import Plan, read_manifests
    from records.store import open_store

    registry = Registry(models)
    known = registry.current() if champion is None else champion
    if known == challenger:
        raise click.UsageError(f"version {challenger} can't be compared with itself; give another --champion")
    scorer = load_scorer(registry.folder(challenger), engine)
    manifests, _ = read_manifests(registry, [known, challenger])
    plan = Plan(choose_horizon(horizon, manifests, known), months, times.now())
    found = judge_both(open_store(url), plan, str(known), scorer, include_known=include_known)
    if json_file is not None:
        replace_text(json_file, json.dumps(found, indent=1) + "\n")
    _print_comparison(found)


def _print_comparison(found: Mapping[str, Any]) -> None:
    left_out = ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in found["left_out"].items() if count)
    click.echo(f"{found['customers']:,} customers; left out: {left_out or 'none'}")
    print_measures(
        {
            f"champion {found['champion']}": found["measures"][found["champion"]],
            f"challenger {found['challenger']}": found["measures"][found["challenger"]],
            "difference": {"customers": found["customers"], **found["differences"]},
        }
    )
    click.echo(f"{found['verdict']}: {found['reason']}")


def choose_horizon(text: str | None, manifests: Mapping[str, Manifest], version: int | None) -> int:
    """Return the horizon in days: as given, or that of a version, and say which versions had another one in training.

    Parameters
    ----------
    text : str or None
        As given.
    manifests : mapping of str to Manifest
        By version.
    version : int or None

    Raises
    ------
    TableError
        If the given one is none.
    """
    known = {name: read_horizon(manifest.content) for name, manifest in manifests.items()}
    days = parse_horizon(text) if text is not None else known.get(str(version)) or DEFAULT_DAYS
    for name, trained in known.items():
        if trained not in (None, days):
            click.echo(
                f"version {name} was trained on customers who left within {trained} days; the horizon here is {days}",
                err=True,
            )
    return days


def _judge(url: str, models: Path, horizon: str | None, months: int) -> dict[str, Any]:
    from records import times
    from records.judging.judge import Plan, judge, read_manifests
    from records.judging.judgements import save_judgement
    from records.store import open_store

    registry = Registry(models)
    manifests, unusable = read_manifests(registry)
    plan = Plan(choose_horizon(horizon, manifests, registry.find_current()), months, times.now())
    store = open_store(url)
    for version, why in unusable.items():
        click.echo(f"version {version} is judged without its training metrics and groups: {why}", err=True)
    judgement = judge(store, plan, manifests)
    save_judgement(store, judgement)
    return judgement


def print_judgement(judgement: Mapping[str, Any]) -> None:
    """Print measures by month and version."""
    click.echo(
        f"{judgement['rule']}\nThe newest outcome is of {judgement['known_until'] or 'no day: none are loaded'}."
    )
    for month in judgement["months"]:
        click.echo(
            f"\n{month['month']}: {month['customers']:,} customers, {month['judged']:,} judged, "
            f"{month['open']:,} whose horizon is not over, {month['unknown']:,} whose outcome is unknown"
        )
        told = month["expected"] if month["judged"] else month["expected_of_all"]
        print_measures({"came": month["measures"], "expected": told} if month["judged"] else {"expected": told})
    if judgement["versions"]:
        click.echo("\nversions, all months")
        print_measures({f"version {name}": found["measures"] for name, found in judgement["versions"].items()})
    click.echo(f"\nexpected: {judgement['assumption']}")


def print_measures(columns: Mapping[str, Mapping[str, Any]]) -> None:
    """Print measures with intervals, a line each, and a column for each of those given."""
    click.echo(f"{'':<22}" + "".join(f"{name:>30}" for name in columns))
    click.echo(f"{'customers':<22}" + "".join(f"{found['customers']:>30,}" for found in columns.values()))
    for name in _SHOWN:
        cells = [_describe(found.get(name)) for found in columns.values()]
        if any(cells):
            click.echo(f"{name.replace('_', ' '):<22}" + "".join(f"{cell:>30}" for cell in cells))


def _describe(number: Mapping[str, float | None] | None) -> str:
    if not number or number["value"] is None:
        return ""
    if number["low"] is None or number["high"] is None:
        return f"{number['value']:.4f}"
    return f"{number['value']:.4f} ({number['low']:.4f} to {number['high']:.4f})"
