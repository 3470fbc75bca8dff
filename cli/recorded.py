"""Options of `churn train` for a training table from the decision store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from churn.horizon import DEFAULT_DAYS, parse_horizon
from cli.dataset import pop_dataset_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from training.dataset import Dataset

_OPTIONS = [
    click.option(
        "--from-records",
        metavar="URL",
        help="Instead of DATA: train on recorded customers with outcomes, with the columns of --schema or of the "
        "current version.",
    ),
    click.option(
        "--horizon",
        help="Days (90d) or weeks (12w) after a row in which its customer counts as a leaver. The version is judged "
        "by it; with --from-records, the labels are made by it.  [default with --from-records: 90d]",
    ),
    click.option(
        "--months",
        type=click.IntRange(1, 240),
        help="With --from-records: number of calendar months, the newest ones with records.  [default: 12]",
    ),
]

_READING = {
    "label": "--label", "positive": "--positive", "negative": "--negative", "identifier": "--id",
    "category": "--category", "drop_rows": "--drop-rows", "decimal": "--decimal",
}  # fmt: skip
_STREAMING = {
    "stream": "--stream", "epochs": "--epochs", "batch_rows": "--batch-rows", "mixed_precision": "--mixed-precision",
    "scratch": "--scratch",
}  # fmt: skip


class Recorded(NamedTuple):
    """What is read of the decision store."""

    url: str
    horizon: int
    months: int


def recorded_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `pop_recorded_options` reads to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def pop_recorded_options(data: Path | None, write_schema: Path | None, chosen: dict[str, Any]) -> Recorded | None:
    """Remove the options of `recorded_options` from `chosen` and return them; None if there is a table.

    The horizon remains there, as days or None. If there is no table, those of streaming are removed as well.

    Raises
    ------
    UsageError
        If there is neither a table nor a store, or both, or an option that concerns only the other one.
    TableError
        If the horizon is none.
    """
    url, months = chosen.pop("from_records"), chosen.pop("months")
    horizon = chosen["horizon"] = None if chosen["horizon"] is None else parse_horizon(chosen["horizon"])
    if url is None:
        if data is None:
            raise click.UsageError("DATA is missing: a table, or --from-records")
        if months:
            raise click.UsageError("--months needs --from-records")
        return None
    if data is not None:
        raise click.UsageError("DATA and --from-records exclude each other")
    given = [option for name, option in (_READING | _STREAMING).items() if chosen.get(name)]
    given += ["--write-schema"] if write_schema else []
    if given:
        raise click.UsageError(f"--from-records reads no table; remove: {', '.join(given)}")
    for name in _STREAMING:
        del chosen[name]
    chosen["horizon"] = horizon or DEFAULT_DAYS
    return Recorded(url, chosen["horizon"], months or 12)


def load_from_records(recorded: Recorded, models: Path, chosen: dict[str, Any]) -> Dataset:
    """Load the training data with the options of `cli.dataset.dataset_options`, which are removed from `chosen`.

    Raises
    ------
    TableError
        If the store can't be read, or has too few customers with outcomes.
    RegistryError, BundleError
        If there is neither a schema nor a current version.
    """
    from churn.bundle import read_bundle
    from churn.names import normalize_names
    from churn.registry import Registry
    from records import times
    from records.judging.judge import Plan
    from records.store import open_store
    from training.recorded import load_recorded

    options = pop_dataset_options(chosen)
    schema = options["schema"] or read_bundle(Registry(models).current_folder()).manifest.schema
    plan = Plan(recorded.horizon, recorded.months, times.now())
    without = schema.without(normalize_names(options["drop"]))
    return load_recorded(open_store(recorded.url), plan, without, keep=options["keep"])


def mask(arguments: list[str], recorded: Recorded) -> list[str]:
    """Return a command line with the URL of the store without its password."""
    import sqlalchemy as sa

    shown = sa.make_url(recorded.url).render_as_string(hide_password=True)
    return [one.replace(recorded.url, shown) for one in arguments]
