"""Whether cells have the types of their columns, which SQLite does not enforce: it keeps text in columns of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from records import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TYPES: dict[type, type] = {
    sa.Integer: int,
    sa.BigInteger: int,
    sa.Text: str,
    sa.Double: float,
    sa.Boolean: bool,
    sa.LargeBinary: bytes,
}

_TIMES = "time", "started", "hour"


class RowTypes:
    """The types of some columns of a table.

    Parameters
    ----------
    table : sqlalchemy.Table
    names : iterable of str
        Of the columns, in the order of the cells.
    """

    def __init__(self, table: sa.Table, names: Iterable[str]) -> None:
        columns = [table.c[name] for name in names]
        self._columns = [
            (column.name, {_TYPES[type(column.type)], *([type(None)] if column.nullable else [])}) for column in columns
        ]
        self._times = [place for place, column in enumerate(columns) if column.name in _TIMES]
        self._known: set[tuple[type, ...]] = set()

    def find_fault(self, row: Sequence[Any]) -> str:
        """Return what is wrong with a row, as a clause; an empty text if nothing is."""
        types = tuple(map(type, row))
        if types not in self._known:
            for (name, allowed), found in zip(self._columns, types, strict=True):
                if found not in allowed:
                    return f"its {name} was changed to a value of another type"
            self._known.add(types)
        for place in self._times:
            if not times.EARLIEST <= row[place] <= times.LATEST:
                return f"its {self._columns[place][0]} was changed to a value that is no time"
        return ""
