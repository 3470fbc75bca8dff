"""How a table is read: the options of every command that learns from one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.dataset import Dataset

_SAID_BY_SCHEMA = {"--label": "label", "--id": "identifier", "--keep": "keep", "--drop": "drop"}
_READING = (*_SAID_BY_SCHEMA.values(), "positive", "on_bad_row")

_OPTIONS = [
    click.option("--label", help="The label's column; found by its name if not given."),
    click.option("--positive", help="The label's value that means leaving, where it is not plain."),
    click.option("--id", "identifier", help="The column that names a customer; found by its name if not given."),
    click.option(
        "--schema",
        "schema_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A TOML file that says what the columns are; inferred if not given.",
    ),
    click.option("--keep", multiple=True, metavar="COLUMN", help="Keep a column that would be dropped; repeatable."),
    click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column out; repeatable."),
    click.option(
        "--on-bad-row",
        type=click.Choice(["refuse", "drop"]),
        default="refuse",
        show_default=True,
        help="What to do with a row that can't be used.",
    ),
]


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `load_told` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_told(data: Path, chosen: dict[str, Any]) -> Dataset:
    """Load a table as the options of `dataset_options` say, and take them out of what was chosen.

    Raises
    ------
    UsageError
        If a schema is given beside an option that says the same.
    TableError, SchemaError
        If the table or the schema can't be used.
    """
    from training.dataset import load_dataset

    return load_dataset(data, **take_told(chosen))


def take_told(chosen: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `dataset_options` out of what was chosen, and read the schema.

    Raises
    ------
    UsageError
        If a schema is given beside an option that says the same.
    SchemaError
        If the schema can't be used.
    """
    schema_file = chosen.pop("schema_file")
    given = [option for option, name in _SAID_BY_SCHEMA.items() if chosen[name]]
    if schema_file and given:
        raise click.UsageError(f"--schema says that already, so leave out: {', '.join(given)}")
    from training.schema_file import read_schema

    schema = read_schema(schema_file) if schema_file else None
    return {"schema": schema, **{name: chosen.pop(name) for name in _READING}}


def print_dataset(dataset: Dataset) -> None:
    """Say what each column is taken for, and why one is left out."""
    source = dataset.source
    click.echo(
        f"{source['file']}: {source['rows_used']:,} customers, {source['positive_share']:.2%} of whom left "
        f"(label {dataset.schema.label}, identifier {dataset.schema.identifier})"
    )
    width = max(len(name) for name in dataset.schema.names)
    for feature in dataset.schema.features:
        seen = feature.trained_minimum is not None
        span = f", seen {feature.trained_minimum:.10g} to {feature.trained_maximum:.10g}" if seen else ""
        click.echo(f"  {feature.name:<{width}}  {feature.kind:<8}  {feature.allowed}{span}")
    for note in dataset.notes:
        click.echo(f"  {note}")
