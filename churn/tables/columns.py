"""Select the columns of a table by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.schema import Schema


class ColumnsError(TableError):
    """Missing or duplicate columns.

    Attributes
    ----------
    absent, twice : list of str
    found : str
        Existing columns, and for a CSV how its header was read.
    """

    def __init__(self, absent: list[str], twice: list[str], found: str) -> None:
        self.absent, self.twice, self.found = absent, twice, found
        told = [f"{what}: {', '.join(names)}" for what, names in (
            ("columns are missing", absent), ("columns occur twice", twice)) if names]  # fmt: skip
        super().__init__("; ".join([*told, f"found: {found}"]))


def choose_columns(there: Sequence[str], schema: Schema, keep: Sequence[str] = (), found: str = "") -> tuple[str, ...]:
    """Return the identifier (if the table has it), the features and the kept columns, each once.

    Columns that are not in the schema are ignored. Therefore all columns of the schema must exist, even those with
    missing values: a misspelt name would look like a missing value in every row.

    Parameters
    ----------
    there : sequence of str
        Columns of the table.
    schema : Schema
    keep : sequence of str
        Columns to copy to the output.
    found : str
        Description of the existing columns for messages. Defaults to their names.

    Raises
    ------
    ColumnsError
        If a column is missing or occurs twice.
    """
    own = [schema.identifier] if schema.identifier in there else []
    chosen = tuple(dict.fromkeys([*own, *schema.names, *keep]))
    absent = [name for name in chosen if name not in there]
    twice = [name for name in chosen if there.count(name) > 1]
    if absent or twice:
        raise ColumnsError(absent, twice, found or ", ".join(there))
    return chosen
