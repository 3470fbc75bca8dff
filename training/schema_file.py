"""The schema as an editable TOML file."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import tomli_w

from churn.errors import SchemaError
from churn.runtime.files import replace_text
from churn.schema import Schema

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = """\
# Columns of a customer. kind: number, integer, flag, category or date. Values below minimum or above maximum are
# rejected; values outside trained_minimum and trained_maximum are scored with a warning, and training sets these two
# again. A category without a list of categories gets those of the table; with open = true it accepts others as well.
# format is how a date is written, such as %d/%m/%Y; ISO 8601 is always accepted. A feature that is nullable may be
# missing. Columns without an entry are not used.
# actionable = "increase", "decrease" or "any" marks a column that somebody can change in this direction, e.g. by an
# offer: POST /counterfactuals proposes changes of marked columns only, within actionable_minimum and
# actionable_maximum, if they are given, and the trained range.
"""


def read_schema(path: Path) -> Schema:
    """Read a schema from a TOML file.

    Raises
    ------
    SchemaError
        If the file is not valid TOML or not a valid schema; the message names the place.
    """
    try:
        return Schema.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, SchemaError) as error:
        raise SchemaError(f"{path}: {error}") from error


def write_schema_file(path: Path, schema: Schema) -> None:
    """Write a schema to a TOML file, with comments that explain what may be edited."""
    replace_text(path, _HEADER + tomli_w.dumps(schema.to_dict(), multiline_strings=False))
