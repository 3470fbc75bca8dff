"""Options that describe a training table, shared by `churn train` and `churn tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.numerals import MARKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.dataset import Dataset

_FIXED_BY_SCHEMA = {"--label": "label", "--id": "identifier", "--category": "category"}
_READING = (
    *_FIXED_BY_SCHEMA.values(),
    "positive",
    "negative",
    "keep",
    "drop",
    "drop_rows",
    "on_bad_row",
    "decimal",
)

_OPTIONS = [
    click.option(
        "--decimal",
        type=click.Choice(MARKS),
        help="Decimal separator of numbers in a CSV; with a comma, points may separate thousands.  [default: detected]",
    ),
    click.option("--label", help="Label column.  [default: found by name]"),
    click.option("--positive", help="Label value that means the customer left, if it is not obvious."),
    click.option(
        "--negative",
        help="Label value that means the customer stayed. With --positive, rows with other values are excluded.",
    ),
    click.option("--id", "identifier", help="Column that identifies a customer.  [default: found by name]"),
    click.option(
        "--schema",
        "schema_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="TOML file that describes the columns.  [default: inferred]",
    ),
    click.option(
        "--keep",
        multiple=True,
        metavar="COLUMN",
        help="Keep a column that would be dropped, or that predicts the label too well; repeatable.",
    ),
    click.option("--drop", multiple=True, metavar="COLUMN", help="Drop a column; repeatable."),
    click.option(
        "--category",
        multiple=True,
        metavar="COLUMN",
        help="Use a numeric column, such as a code, as a category; repeatable.",
    ),
    click.option(
        "--drop-rows",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Exclude rows with this value (case-insensitive); repeatable.",
    ),
    click.option(
        "--on-bad-row",
        type=click.Choice(["refuse", "drop"]),
        default="refuse",
        show_default=True,
        help="Whether unusable rows fail the command or are dropped and listed.",
    ),
]


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `load_from_options` reads to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_from_options(data: Path, options: dict[str, Any]) -> Dataset:
    """Load the training table with the options of `dataset_options`, which are removed from `options`.

    Raises
    ------
    UsageError
        If `--schema` is combined with an option that the schema file sets.
    TableError, SchemaError
        If the table or the schema can't be used.
    """
    from training.dataset import load_dataset

    return load_dataset(data, **pop_dataset_options(options))


def pop_dataset_options(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of `dataset_options` from `options` and return them, with the parsed schema file.

    Raises
    ------
    UsageError
        If `--schema` is combined with an option that the schema file sets.
    SchemaError
        If the schema can't be used.
    """
    schema_file = options.pop("schema_file")
    given = [option for option, name in _FIXED_BY_SCHEMA.items() if options[name]]
    if schema_file and given:
        raise click.UsageError(f"--schema sets these already; remove: {', '.join(given)}")
    from training.schema_file import read_schema

    schema = read_schema(schema_file) if schema_file else None
    return {"schema": schema, **{name: options.pop(name) for name in _READING}}


def print_dataset(dataset: Dataset) -> None:
    """Print how each column is used, and why a column is dropped."""
    source = dataset.source
    click.echo(
        f"{source['file']}: {source['rows_used']:,} customers, {source['positive_share']:.2%} left "
        f"(label {dataset.schema.label}, {_name_identifier(dataset)})"
    )
    width = max(len(name) for name in dataset.schema.names)
    for feature in dataset.schema.features:
        low, high = (_write(feature.show(bound)) for bound in (feature.trained_minimum, feature.trained_maximum))
        span = f", seen {low} to {high}" if low else ""
        click.echo(f"  {feature.name:<{width}}  {feature.kind:<8}  {feature.allowed}{span}")
    for note in dataset.notes:
        click.echo(f"  {note}")


def _name_identifier(dataset: Dataset) -> str:
    has_one = dataset.source["has_identifier"]
    return f"identifier {dataset.schema.identifier}" if has_one else "no identifier column"


def _write(bound: float | str | None) -> str:
    return f"{bound:.10g}" if isinstance(bound, int | float) else bound or ""
