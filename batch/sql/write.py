"""Tables a job writes: aside while it runs, under their names in the transaction that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Column = tuple[str, sa.types.TypeEngine[Any]]

ASIDE = "__partial"
"""What the name of a table ends with until the job is done."""

IfExists = Literal["fail", "replace"]


class WrittenType(sa.types.UserDefinedType[Any]):
    """A column's type as DDL writes it; of no words for SQLite, which then keeps every value as it comes."""

    cache_ok = True

    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **_: object) -> str:
        """Return the words."""
        return self.words


class TableWriter:
    """One table, written aside and published by renaming.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        The writer's. Nothing here commits.
    name : str
        ``table`` or ``schema.table``.
    columns : sequence of (str, type)
        The columns in their order.

    Raises
    ------
    TableError
        If the database would cut the name off.
    """

    def __init__(self, connection: sa.Connection, name: str, columns: Sequence[Column]) -> None:
        self._connection = connection
        schema, _, bare = name.rpartition(".")
        self.name = name
        self._schema, self._bare = schema or None, bare
        longest = connection.dialect.max_identifier_length
        if not bare or len((bare + ASIDE).encode()) > longest:
            raise TableError(f"{name!r}: the table's name takes from 1 to {longest - len(ASIDE)} bytes here")
        self._aside = sa.Table(
            bare + ASIDE, sa.MetaData(), *(sa.Column(column, kind) for column, kind in columns), schema=self._schema
        )

    @property
    def exists(self) -> bool:
        """Whether a table or view has the final name."""
        return self._has(self._bare)

    @property
    def is_aside(self) -> bool:
        """Whether the table aside stands."""
        return self._has(self._aside.name)

    def create_aside(self) -> None:
        """Create the table aside, empty; one that a killed job left is removed."""
        self._aside.drop(self._connection, checkfirst=True)
        self._aside.create(self._connection)

    def append(self, batch: pa.RecordBatch) -> None:
        """Insert rows into the table aside; the batch's columns are taken in their order, whatever their names."""
        lists = [
            _as_text(cells) if isinstance(column.type, sa.Text) else cells
            for column, cells in zip(self._aside.columns, map(pa.Array.to_pylist, batch.columns), strict=True)
        ]
        names = self._aside.columns.keys()
        rows = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        if rows:
            self._connection.execute(sa.insert(self._aside), rows)

    def count(self, distinct: str | None = None) -> int:
        """Count the rows of the table aside, or the different values of a column."""
        counted = sa.func.count() if distinct is None else sa.func.count(sa.distinct(self._aside.c[distinct]))
        return int(self._connection.execute(sa.select(counted).select_from(self._aside)).scalar_one())

    def publish(self) -> None:
        """Put the table aside in the place of the one that has the final name, if there is one."""
        if not self.is_aside:  # killed between two names, where DDL is not part of a transaction
            return
        preparer = self._connection.dialect.identifier_preparer
        if self.exists:
            final = preparer.format_table(sa.table(self._bare, schema=self._schema))
            self._connection.exec_driver_sql(f"DROP TABLE {final}")
        aside = preparer.format_table(self._aside)
        self._connection.exec_driver_sql(f"ALTER TABLE {aside} RENAME TO {preparer.quote(self._bare)}")

    def _has(self, bare: str) -> bool:
        inspector = sa.inspect(self._connection)
        return bool(inspector.has_table(bare, schema=self._schema))


class CopyTableWriter(TableWriter):
    """The same by PostgreSQL's ``COPY … FROM STDIN``; text from `read_by_copy` goes in as it came out."""

    def append(self, batch: pa.RecordBatch) -> None:
        """Insert rows into the table aside."""
        if not len(batch):
            return
        sink = pa.BufferOutputStream()
        # Text is quoted and NULL is not, so an empty text stays one.
        csv.write_csv(batch, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
        preparer = self._connection.dialect.identifier_preparer
        into = f"COPY {preparer.format_table(self._aside)} FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
        driver: Any = self._connection.connection
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            copy.write(memoryview(sink.getvalue()))


def _as_text(cells: Sequence[Any]) -> list[str | None]:
    return [None if cell is None else str(cell) for cell in cells]
