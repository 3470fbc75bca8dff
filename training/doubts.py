"""Warnings about columns of a training table: invalid names, possible codes and keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from pyarrow import compute

from churn.errors import TableError
from churn.names import find_alike, find_fault, shorten
from training.cells import as_numbers, is_present, is_text, select_present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from churn.feature import Feature
    from churn.names import Role
    from training.tables import Table

CODE_SHARE = 0.01
"""Integers of different lengths are a code if at least this share of them has leading zeros."""

KEY_NAME = re.compile(r"(?i:(^|[_\s-])(id|no|nr|num|number|key|uuid|guid|iban|account|row|index)$)|Id$|ID$|Number$")
"""Suffixes of the names of keys."""

_SEPARATORS = {"\t": "tabs", "|": "vertical bars", ";": "semicolons", ",": "commas", ":": "colons", " ": "blanks"}

NOTATION_SAMPLE = 1000
"""Number of cells that show whether a column holds numbers in another notation."""

NUMERIC_SHARE = 0.9
"""A text column holds numbers if this share of its cells look like numbers."""

_WRITTEN_NUMBER = re.compile(
    r"[+-]?[$€£¥]?\s?[+-]?"
    r"(?:\d{1,3}(?P<mark>[\s'\u2019.,])\d{3}(?:(?P=mark)\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d*)?|[.,]\d+)"
    r"\s?[$€£¥%]?-?"
)
"""Number with any thousands mark, decimal point or comma, currency or percent sign, or minus at the end."""

_WAYS: Mapping[Role, str] = {
    "feature": "rename the column, or leave it out with --drop",
    "identifier": "rename the column, or name another one with --id",
    "label": "rename the column",
}


def check_names(path: Path, features: Sequence[str], label: str, identifier: str) -> None:
    """Raise TableError if a model with these columns could not be served; the message names the column and a remedy.

    Parameters
    ----------
    path : Path
    features, label, identifier : sequence of str, str, str
        Names of the columns.
    """
    roles: list[tuple[str, Role]] = [*((name, "feature") for name in features)]
    for name, role in (*roles, (label, "label"), (identifier, "identifier")):
        if fault := find_fault(name, role):
            article = "a" if role == "feature" else "the"
            raise TableError(f"{path}: {article} {role} can't be named {shorten(name)}: {fault}; {_WAYS[role]}")
    if alike := find_alike([*features, label, identifier]):
        raise TableError(
            f"{path}: columns differ in upper and lower case alone, which databases and Spark take for the same: "
            f"{', '.join(alike)}; rename one, leave it out with --drop, or name the identifier with --id"
        )


def check_notation(table: Table, name: str) -> None:
    """Raise TableError if a column holds numbers in a notation that is not read; it would be taken for text.

    Parameters
    ----------
    table : Table
    name : str
        Column, for which the user specified nothing.
    """
    column = table.columns[name]
    if not is_text(column) or KEY_NAME.search(name):
        return
    known = is_present(column)
    sample = select_present(column)[:NOTATION_SAMPLE].to_pylist()
    if sum(bool(_WRITTEN_NUMBER.fullmatch(cell)) for cell in sample) < max(1, NUMERIC_SHARE * len(sample)):
        return
    wrong = as_numbers(column, table.decimals.get(name, "."))[1] & known
    if wrong.sum() <= (1 - NUMERIC_SHARE) * known.sum():
        return
    rows = [*np.flatnonzero(wrong)[:2], *np.flatnonzero(known & ~wrong)[:1]]
    places = [f" ({where})" if (where := table.locate(row)) else "" for row in rows]
    shown = ", ".join(shorten(column[row].as_py()) + place for row, place in zip(rows, places, strict=True))
    raise TableError(
        f"{table.path}: {name} has numbers in a format that is not read: {shown}; "
        f"allowed: 1234.56, or 1.234,56 with --decimal ,; convert them, leave the column out with --drop {name}, or "
        f"take it for a category with --category {name}"
    )


def hint_at_separator(names: Sequence[str]) -> str:
    """Return a hint for a table with a single column, which may have an unsupported delimiter."""
    words = [word for separator, word in _SEPARATORS.items() if len(names) == 1 and separator in names[0].strip()]
    if not words:
        return ""
    return (
        f". That is a single column: are its fields separated by {words[0]}? Write the file with commas or semicolons"
    )


def find_doubts(column: pa.Array, feature: Feature, *, as_told: bool) -> list[str]:
    """Return remarks on a feature that may be of another kind, one sentence each.

    Parameters
    ----------
    column : pyarrow.Array
        Cells of the column that are not missing.
    feature : Feature
    as_told : bool
        Whether the user specified the column.
    """
    name, doubts = feature.name, []
    zeros, is_code = find_zeros(column)
    if is_code and feature.kind == "category":
        doubts.append(
            f"{name} is taken for a category, not a number, because it is a code with leading zeros ({zeros[0]}); "
            "a --schema can say that it is a number."
        )
    elif zeros and feature.is_numeric:
        doubts.append(
            f"{name} is taken for a number, and {len(zeros):,} of its cells lose their leading zeros ({zeros[0]}); "
            f"--category {name} takes it for a category."
        )
    if not as_told and feature.kind != "flag" and KEY_NAME.search(name):
        ways = f"--drop {name} leaves it out, --id {name} names customers by it"
        ways += f", --category {name} takes it for a category" if feature.is_numeric else ""
        doubts.append(
            f"{name} is taken for a {'number' if feature.is_numeric else 'category'} to learn from, although its name "
            f"is that of a key and its values repeat: {ways}."
        )
    return doubts


def find_zeros(column: pa.Array) -> tuple[list[str], bool]:
    """Return the cells of an integer column with leading zeros, and whether the column is a code.

    A code, such as a postal code, has a fixed length, or leading zeros in more than a few cells.
    """
    if not is_text(column) or compute.all(compute.match_substring_regex(column, "^[0-9]+$")).as_py() is False:
        return [], False
    zeros = column.filter(compute.match_substring_regex(column, "^0[0-9]+$")).to_pylist()
    has_length = len(compute.utf8_length(column).unique()) == 1
    return zeros, bool(zeros) and (has_length or len(zeros) >= CODE_SHARE * len(column))
