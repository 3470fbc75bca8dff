"""Output tables: staging tables while a job runs, renamed in the transaction that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Column = tuple[str, sa.types.TypeEngine[Any]]

STAGING_SUFFIX = "__partial"
"""Suffix of the names of staging tables."""

IfExists = Literal["fail", "replace"]


class WrittenType(sa.types.UserDefinedType[Any]):
    """A column type in DDL syntax; empty for SQLite, which then stores values unchanged."""

    cache_ok = True

    def __init__(self, words: str) -> None:
        self.words = words

    def get_col_spec(self, **_: object) -> str:
        """Return the type in DDL syntax."""
        return self.words


class TableWriter:
    """A table that is written as a staging table and published by renaming.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        Connection of the writer. Not committed here.
    name : str
        ``table`` or ``schema.table``.
    columns : sequence of (str, type)
        The columns, in order.

    Raises
    ------
    TableError
        If the database would truncate the name.
    """

    def __init__(self, connection: sa.Connection, name: str, columns: Sequence[Column]) -> None:
        self._connection = connection
        schema, _, bare = name.rpartition(".")
        self.name = name
        self._schema, self._bare = schema or None, bare
        longest = connection.dialect.max_identifier_length
        if not bare or len((bare + STAGING_SUFFIX).encode()) > longest:
            raise TableError(
                f"{name!r}: the table name must have from 1 to {longest - len(STAGING_SUFFIX)} bytes in this database"
            )
        self._staging = sa.Table(
            bare + STAGING_SUFFIX,
            sa.MetaData(),
            *(sa.Column(column, kind) for column, kind in columns),
            schema=self._schema,
        )

    @property
    def exists(self) -> bool:
        """Whether a table or view with the final name exists."""
        return self._has(self._bare)

    @property
    def staging_name(self) -> str:
        """Name of the staging table, ``table`` or ``schema.table``."""
        return self.name + STAGING_SUFFIX

    @property
    def is_staged(self) -> bool:
        """Whether the staging table exists."""
        return self._has(self._staging.name)

    def create_staging(self) -> None:
        """Create an empty staging table; drop one that a killed job left."""
        self._staging.drop(self._connection, checkfirst=True)
        self._staging.create(self._connection)

    def append(self, batch: pa.RecordBatch) -> None:
        """Insert rows into the staging table; columns are matched by position."""
        lists = [
            _as_text(cells) if isinstance(column.type, sa.Text) else cells
            for column, cells in zip(self._staging.columns, map(pa.Array.to_pylist, batch.columns), strict=True)
        ]
        names = self._staging.columns.keys()
        rows = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
        if rows:
            self._connection.execute(sa.insert(self._staging), rows)

    def count(self, distinct: str | None = None) -> int:
        """Return the number of rows in the staging table, or of distinct values in a column."""
        counted = sa.func.count() if distinct is None else sa.func.count(sa.distinct(self._staging.c[distinct]))
        return int(self._connection.execute(sa.select(counted).select_from(self._staging)).scalar_one())

    def publish(self) -> None:
        """Rename the staging table to the final name, replacing an existing table."""
        if not self.is_staged:  # killed between two renames in a database without transactional DDL
            return
        preparer = self._connection.dialect.identifier_preparer
        if self.exists:
            final = preparer.format_table(sa.table(self._bare, schema=self._schema))
            self._connection.exec_driver_sql(f"DROP TABLE {final}")
        staging = preparer.format_table(self._staging)
        self._connection.exec_driver_sql(f"ALTER TABLE {staging} RENAME TO {preparer.quote(self._bare)}")

    def _has(self, bare: str) -> bool:
        inspector = sa.inspect(self._connection)
        return bool(inspector.has_table(bare, schema=self._schema))


class CopyTableWriter(TableWriter):
    """A `TableWriter` that uses PostgreSQL's ``COPY … FROM STDIN``; text from `read_by_copy` is written unchanged."""

    def append(self, batch: pa.RecordBatch) -> None:
        """Insert rows into the staging table."""
        if not len(batch):
            return
        sink = pa.BufferOutputStream()
        # Strings are quoted and NULL is not, so empty strings are preserved.
        csv.write_csv(batch, sink, csv.WriteOptions(include_header=False, quoting_style="needed"))
        preparer = self._connection.dialect.identifier_preparer
        into = f"COPY {preparer.format_table(self._staging)} FROM STDIN (FORMAT csv, ENCODING 'UTF8')"
        driver: Any = self._connection.connection
        with driver.cursor() as cursor, cursor.copy(into) as copy:
            copy.write(memoryview(sink.getvalue()))


def _as_text(cells: Sequence[Any]) -> list[str | None]:
    return [None if cell is None else str(cell) for cell in cells]
