"""Infer the schema of a table: label, identifier, features, and columns to drop.

All decisions are explained in `Inference.notes`, so that no column is dropped silently.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from churn.errors import TableError
from churn.feature import FLAG_WORDS, Feature
from churn.names import normalize, normalize_names
from churn.schema import Schema
from training.cells import as_numbers, as_words, count_distinct, count_words, is_present, select_present
from training.date_columns import describe_dates, explain_doubt, find_dates
from training.doubts import (
    KEY_NAME,
    NUMERIC_SHARE,
    check_names,
    check_notation,
    find_doubts,
    find_zeros,
    hint_at_separator,
)
from training.levels import MANY_LEVELS, choose_levels, find_objection
from training.remarks import find_remarks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from churn.dates import DetectedFormat
    from training.table_options import TableOptions
    from training.tables import Table

LABEL_NAMES = ("exited", "churn", "churned", "attrition", "attrited", "left", "ischurn", "churnflag", "attritionflag")
IDENTIFIER_NAMES = ("customerid", "clientid", "clientnum", "clientno", "customerno", "customernumber", "customer", "id")
DEFAULT_IDENTIFIER = "CustomerId"

DIFFERENT = "it is different in every row, so it names the customer and says nothing about the next one"
"""Reason to drop a key."""

KNOWN_SHARE = 0.8
"""A table is recognised as a known one if it has this share of its columns."""


@dataclass(frozen=True, slots=True)
class Inference:
    """Result of inferring a schema.

    Attributes
    ----------
    schema : Schema
    has_identifier : bool
        Whether the table has an identifier column.
    notes : tuple of str
        Remarks on columns, one sentence each.
    dropped : mapping of str to str
        Dropped columns with reasons.
    """

    schema: Schema
    has_identifier: bool
    notes: tuple[str, ...]
    dropped: Mapping[str, str]


def find_label(path: Path, names: Sequence[str], label: str | None) -> str:
    """Return the label column of a table with these columns: the given one, or the one with a common name.

    Raises
    ------
    TableError
        If the column does not exist, or no or several columns look like the label.
    """
    if label is not None:
        label = normalize(label.strip())
        if label not in names:
            raise TableError(
                f"{path}: there is no column {label!r}; found: {', '.join(names)}{hint_at_separator(names)}"
            )
        return label
    found = [name for name in names if _squeeze(name) in LABEL_NAMES]
    if len(found) != 1:
        what = "several columns look" if found else "no column looks"
        raise TableError(
            f"{path}: {what} like the label{': ' + ', '.join(found) if found else ''}; name it with --label. "
            f"The columns are: {', '.join(names)}{hint_at_separator(names)}"
        )
    return found[0]


def infer(table: Table, label: str, labels: np.ndarray[Any, Any], options: TableOptions) -> Inference:
    """Infer the schema of a table.

    Parameters
    ----------
    table : Table
    label : str
        Label column.
    labels : ndarray of float64, shape (n,)
        0 or 1, NaN for unusable rows.
    options : TableOptions
        Of which the identifier, and the columns to keep, to drop and to use as categories concern the features.

    Raises
    ------
    TableError
        If no feature is left, a given column does not exist, or a column has an invalid name.
    """
    names = [name for name in table.columns if name != label]
    keep, drop = normalize_names(options.get("keep", ())), normalize_names(options.get("drop", ()))
    category = normalize_names(options.get("category", ()))
    told = options.get("identifier")
    identifier = normalize(told.strip()) if told else None
    for name in (*keep, *drop, *category, *([identifier] if identifier else [])):
        if name not in names:
            raise TableError(f"{table.path}: there is no column {name!r} to use; found: {', '.join(names)}")
    twice = {*category} & {*drop, *([identifier] if identifier else [])}
    if twice:
        raise TableError(f"{table.path}: --category {', '.join(sorted(twice))} contradicts --drop or --id")
    chosen = identifier or _find_identifier(table, [name for name in names if name not in (*drop, *category)])
    dates = find_dates({name: table.columns[name] for name in names if name not in (chosen, *drop, *category)})
    for name in names:
        if name not in (chosen, *keep, *drop, *category, *dates):
            check_notation(table, name)
    reasons = {
        name: "you asked for it"
        if name in drop
        else _reason_to_drop(table, name, labels, dates.get(name), as_category=name in category)
        for name in names
        if name != chosen and (name in drop or name not in keep)
    }
    dropped = {name: reason for name, reason in reasons.items() if reason is not None}
    usable = [name for name in names if name != chosen and name not in dropped]
    if not usable:
        raise TableError(f"{table.path}: no column is left to learn from: {_sentences(dropped)}")
    check_names(table.path, usable, label, chosen or DEFAULT_IDENTIFIER)
    features = [_describe(table, name, dates.get(name), as_category=name in category) for name in usable]
    doubts = [
        doubt
        for feature in features
        for doubt in find_doubts(
            select_present(table.columns[feature.name]), feature, as_told=feature.name in (*keep, *category)
        )
    ]
    doubts += find_remarks(table, features, labels, as_told=(*keep, *category))
    notes = [f"{name} is dropped: {reason}." for name, reason in dropped.items()]
    notes += offer_identifiers(dropped) if chosen is None else []
    notes += doubts
    notes += describe_gaps(features)
    schema = Schema(tuple(features), label, chosen or DEFAULT_IDENTIFIER)
    return Inference(document(schema), chosen is not None, tuple(notes), dropped)


def describe_gaps(features: Sequence[Feature]) -> list[str]:
    """Return a sentence on the features with missing values; nothing if there are none."""
    names = [feature.name for feature in features if feature.nullable]
    if not names:
        return []
    columns = f"{len(names)} columns: " if len(names) > 1 else ""
    return [f"Missing values are imputed and marked, in {columns}{', '.join(names)}."]


def offer_identifiers(dropped: Mapping[str, str]) -> list[str]:
    """Return a sentence on the dropped columns that could be the identifier of a table without one, if there are any.

    Parameters
    ----------
    dropped : mapping of str to str
        Dropped columns with reasons.
    """
    names = [name for name, reason in dropped.items() if reason == DIFFERENT and KEY_NAME.search(name)]
    if not names:
        return []
    ways = " or ".join(f"--id {shlex.quote(name)}" for name in names)
    return [f"No column is taken as the identifier of customers, so scores are numbered by row; {ways} names one."]


def _sentences(dropped: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in dropped.items())


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _find_identifier(table: Table, names: Collection[str]) -> str | None:
    for usual in IDENTIFIER_NAMES:
        for name in names:
            column = table.columns[name]
            if _squeeze(name) == usual and not column.null_count and count_distinct(column) > 0.9 * len(column):
                return name
    # Its name says it all, even where customers come back or some have none.
    return next((name for name in names if _squeeze(name) == _squeeze(DEFAULT_IDENTIFIER)), None)


def _reason_to_drop(
    table: Table, name: str, labels: np.ndarray[Any, Any], date: DetectedFormat | None, *, as_category: bool
) -> str | None:
    """Return why a column must be dropped, or None."""
    column = table.columns[name]
    present = select_present(column)
    distinct = count_distinct(present)
    if distinct == 0:
        return "every cell is empty"
    if distinct == 1 and len(present) == len(column):
        return f"it is constant ({present[0]})"
    if distinct == 1:
        return f"it holds one value ({present[0]}) or nothing"
    if date is not None:
        return None if date.format else explain_doubt(date)
    numbers, wrong = as_numbers(present, table.decimals.get(name, "."))
    numeric = wrong.sum() <= (1 - NUMERIC_SHARE) * len(present)
    if distinct == len(column) and _is_key(name, numbers if numeric else None):
        return DIFFERENT
    is_code = numeric and find_zeros(present)[1]
    if as_category or _is_flag_text(present) or (numeric and not is_code):
        return None
    words = compute.if_else(pa.array(is_present(column)), as_words(column), pa.scalar(None, pa.string()))
    objection = find_objection(count_words(present), words, labels)
    return f"it is a code with leading zeros, and {objection}" if is_code and objection else objection


def _is_key(name: str, numbers: np.ndarray[Any, Any] | None) -> bool:
    """Return whether distinct values are a key: strings, or integers that count up or are named like a key."""
    if numbers is None:
        return True
    present = numbers[~np.isnan(numbers)]
    if not (present == np.floor(present)).all():
        return False
    # Row numbers of a subset have gaps.
    return bool(KEY_NAME.search(name)) or present.max() - present.min() + 1 <= 2 * len(present)


def _is_flag_text(present: pa.Array) -> bool:
    return all(str(value).lower() in FLAG_WORDS for value in present.unique())


def _describe(table: Table, name: str, date: DetectedFormat | None, *, as_category: bool = False) -> Feature:
    """Return the feature for a usable column."""
    column = table.columns[name]
    nullable, present = column.null_count > 0, select_present(column)
    if date is not None and date.format:
        return describe_dates(name, present, date.format, nullable=nullable)
    numbers, wrong = as_numbers(present, table.decimals.get(name, "."))
    as_category |= find_zeros(present)[1]
    is_flag = _is_flag_text(present) or (not wrong.any() and set(numbers) <= {0.0, 1.0})
    if is_flag and not as_category:
        return Feature(name, "flag", nullable=nullable, example=1)
    if as_category or wrong.sum() > (1 - NUMERIC_SHARE) * len(present):
        return describe_category(name, count_words(present), nullable=nullable)
    return describe_numbers(name, numbers[~np.isnan(numbers)], nullable=nullable)


def list_categories(schema: Schema, table: Table) -> Schema:
    """Return the schema with the levels of a table for categories without a list.

    Raises
    ------
    TableError
        If such a column has no values.
    """
    features = list(schema.features)
    for position, feature in enumerate(features):
        if feature.name not in schema.unlisted:
            continue
        counts = count_words(select_present(table.columns[feature.name]))
        if not counts:
            raise TableError(f"{table.path}: {feature.name} is a category, and every cell is empty")
        described = describe_category(feature.name, counts, nullable=feature.nullable)
        features[position] = replace(
            feature, categories=described.categories, open=described.open, example=feature.example or described.example
        )
    return replace(schema, features=tuple(features))


def describe_category(name: str, counts: Mapping[str, int], *, nullable: bool) -> Feature:
    """Return the feature for a column of strings or codes; `counts` is in descending order."""
    levels = choose_levels(counts)
    listed = levels.listed or tuple(counts)[:MANY_LEVELS]  # a column specified by the user
    return Feature(
        name, "category", categories=listed, open=levels.is_open, nullable=nullable, example=next(iter(counts))
    )


def describe_numbers(name: str, numbers: np.ndarray[Any, Any], *, nullable: bool) -> Feature:
    """Return the feature for a column of numbers without NaN.

    Parameters
    ----------
    name : str
    numbers : ndarray, shape (n,)
        At least one.
    nullable : bool
        Whether the column has missing values besides.
    """
    whole = bool((numbers == np.floor(numbers)).all())
    middle = float(np.sort(numbers)[len(numbers) // 2])
    return Feature(
        name,
        "integer" if whole else "number",
        # A number without negative values in the whole table can't be negative.
        minimum=0 if numbers.min() >= 0 else None,
        nullable=nullable,
        example=plain(middle),
    )


def plain(number: float) -> float:
    """Return an integer-valued number as int."""
    return int(number) if number.is_integer() else number


def document(schema: Schema) -> Schema:
    """Add descriptions, units and bounds if the column names are those of a known table."""
    known = tomllib.loads(resources.files("training").joinpath("known_tables.toml").read_text(encoding="utf-8"))
    for documentation in known.values():
        if len(set(schema.names) & set(documentation)) >= KNOWN_SHARE * len(documentation):
            return replace(schema, features=tuple(_annotate(f, documentation.get(f.name, {})) for f in schema.features))
    return schema


def _annotate(feature: Feature, documentation: Mapping[str, Any]) -> Feature:
    """Return a feature with what is written down about its column; a category has no direction."""
    if feature.kind == "category" and documentation.get("actionable", "any") != "any":
        documentation = {key: value for key, value in documentation.items() if not key.startswith("actionable")}
    return replace(feature, **documentation)
