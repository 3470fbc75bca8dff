"""Which columns of a table are read, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn.schema import Schema


class ColumnsError(TableError):
    """Columns that are absent, or stand twice.

    Attributes
    ----------
    absent, twice : list of str
    found : str
        The columns there are, and for a CSV how its header was read.
    """

    def __init__(self, absent: list[str], twice: list[str], found: str) -> None:
        self.absent, self.twice, self.found = absent, twice, found
        told = [f"{what}: {', '.join(names)}" for what, names in (
            ("columns are absent", absent), ("columns stand twice", twice)) if names]  # fmt: skip
        super().__init__("; ".join([*told, f"there is: {found}"]))


def choose_columns(there: Sequence[str], schema: Schema, keep: Sequence[str] = (), found: str = "") -> tuple[str, ...]:
    """Return the identifier, if the table has it, the features and what is passed through, each once.

    Columns the schema does not know are ignored; so none that it knows may be absent, not even where values may be
    missing: a misspelt name would pass for a gap in every row.

    Parameters
    ----------
    there : sequence of str
        The table's columns.
    schema : Schema
    keep : sequence of str
        Columns to pass through.
    found : str
        What a message says there is; the columns if not given.

    Raises
    ------
    ColumnsError
        If a column is absent or stands twice.
    """
    own = [schema.identifier] if schema.identifier in there else []
    chosen = tuple(dict.fromkeys([*own, *schema.names, *keep]))
    absent = [name for name in chosen if name not in there]
    twice = [name for name in chosen if there.count(name) > 1]
    if absent or twice:
        raise ColumnsError(absent, twice, found or ", ".join(there))
    return chosen
