"""The schema as a TOML file that a person can edit."""

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
# What the columns of a customer are. kind: number, integer, flag or category. Values below minimum or above
# maximum are refused; values outside trained_minimum and trained_maximum are scored with a warning, and training
# sets those two anew. A feature that is nullable may be missing. A column without an entry is not used.
"""


def read_schema(path: Path) -> Schema:
    """Read a schema.

    Raises
    ------
    SchemaError
        If the file is no TOML or says something a schema can't hold; the message names the place.
    """
    try:
        return Schema.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, SchemaError) as error:
        raise SchemaError(f"{path}: {error}") from error


def write_schema_file(path: Path, schema: Schema) -> None:
    """Write a schema, with a word on what may be edited."""
    replace_text(path, _HEADER + tomli_w.dumps(schema.to_dict(), multiline_strings=False))
