"""Read the rows of a query as pages of Arrow columns, with PostgreSQL's COPY or a cursor of any database."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv

from batch.row_hash import RowHash
from batch.row_texts import write_values

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    import sqlalchemy as sa

    from batch.sql.query import Position, Query

PAGE_ROWS = 32_768
"""Number of rows that are read, scored and written together."""

SLOW_PAGE_ROWS = 1024
"""The same where each row takes milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Consecutive rows of a query.

    Attributes
    ----------
    rows : pyarrow.RecordBatch
        The identifier, if the query has one, and the features, under the names in the schema; the kept columns.
    first, last : object
        Keys of the first and the last row; None for rows without a key.
    hashed : RowHash, optional
        Of the rows, if it is wanted.
    """

    rows: pa.RecordBatch
    first: Any
    last: Any
    hashed: RowHash | None = None


def read_by_copy(
    connection: sa.Connection, query: Query, done: Position, page_rows: int | None = None, *, has_hashes: bool = False
) -> Generator[Page, None, None]:
    """Yield the rows after `done` with PostgreSQL's ``COPY … TO STDOUT``; pyarrow parses the text.

    Kept values remain PostgreSQL's text, so that COPY writes them back unchanged, whatever their type.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A connection of psycopg 3 that is used for nothing else.
    query : Query
    done : Position
    page_rows : int, optional
        Rows of a page. Defaults to `PAGE_ROWS`.
    has_hashes : bool
        Whether pages have the hashes of their rows.
    """
    for statement in _statements(query, done):
        names = list(statement.selected_columns.keys())
        with closing(copy_lines(connection, statement, page_rows)) as pages:
            for lines in pages:
                rows = _parse(b"".join(lines), names)
                keys = rows.column(query.key)
                hashed = None
                if has_hashes:
                    hashed = RowHash(names)
                    hashed.add_lines(lines)
                yield Page(rows, keys[0].as_py(), keys[-1].as_py(), hashed)


def read_by_cursor(
    connection: sa.Connection, query: Query, done: Position, page_rows: int | None = None, *, has_hashes: bool = False
) -> Generator[Page, None, None]:
    """Yield the rows after `done` with a cursor, streamed by the server if the driver supports it.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In SQLite this must be the connection of the writer.
    query, done, page_rows, has_hashes
        As of `read_by_copy`.
    """
    for statement in _statements(query, done):
        for names, rows in fetch_rows(connection, statement, page_rows):
            columns = list(zip(*rows, strict=True))
            batch = pa.record_batch(list(map(_to_arrow, columns)), names=names)
            # What Arrow makes of a column depends on the other rows of the page, so the driver's values are hashed.
            hashed = None
            if has_hashes:
                hashed = RowHash(names)
                hashed.add(write_rows(names, columns))
            position = names.index(query.key)
            yield Page(batch, rows[0][position], rows[-1][position], hashed)


def copy_lines(
    connection: sa.Connection, statement: sa.Select[Any], page_rows: int | None = None
) -> Generator[list[bytes], None, None]:
    """Yield the rows of a statement as lines of CSV from PostgreSQL's ``COPY … TO STDOUT``; see `read_by_copy`."""
    driver: Any = connection.connection
    compiled = statement.compile(dialect=connection.dialect)
    # psycopg unescapes %% only if there are parameters.
    text = compiled.string if compiled.params else compiled.string % ()
    copied = f"COPY ({text}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
    with driver.cursor() as cursor, cursor.copy(copied, compiled.params) as copy:
        rows = iter(copy)
        while lines := list(islice(rows, page_rows or PAGE_ROWS)):
            yield lines


def fetch_rows(
    connection: sa.Connection, statement: sa.Select[Any], page_rows: int | None = None
) -> Iterator[tuple[list[str], Sequence[sa.Row[Any]]]]:
    """Yield the names of the columns and rows of a statement, as the driver returns them; see `read_by_cursor`."""
    result = connection.execute(statement, execution_options={"yield_per": page_rows or PAGE_ROWS})
    names = list(result.keys())
    for rows in result.partitions(page_rows or PAGE_ROWS):
        yield names, rows


def write_rows(names: Sequence[str], columns: Sequence[Sequence[object]]) -> pa.RecordBatch:
    """Return a driver's values as text, by column."""
    return pa.record_batch([write_values(values) for values in columns], names=list(names))


def look_ahead(pages: Iterable[Page]) -> Iterator[tuple[Page, bool]]:
    """Yield each page and whether a transaction may end after it, which is not between rows with the same key."""
    before: Page | None = None
    for page in pages:
        if before is not None:
            yield before, _sort_alike(before.last) != _sort_alike(page.first)
        before = page
    if before is not None:
        yield before, True


def _sort_alike(key: object) -> object:
    """Return a value that is equal for keys that a database may consider equal, for example ignoring case."""
    return key.casefold().strip() if isinstance(key, str) else key


def _statements(query: Query, done: Position) -> Iterator[sa.Select[Any]]:
    if not done.nulls:
        yield query.select_nulls()
    yield query.select_after(done.key)


def _parse(block: bytes, names: list[str]) -> pa.RecordBatch:
    """Parse the output of COPY; an unquoted empty field is NULL."""
    table = csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=names, block_size=len(block) + 1),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return table.combine_chunks().to_batches()[0]


def _to_arrow(values: Sequence[Any]) -> pa.Array:
    """Convert a driver's values to an array; to strings if their types differ, as SQLite allows."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
