"""Read the rows of a query as pages of Arrow columns, with PostgreSQL's COPY or a cursor of any database."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import csv

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
    """

    rows: pa.RecordBatch
    first: Any
    last: Any


def read_by_copy(
    connection: sa.Connection, query: Query, done: Position, page_rows: int | None = None
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
    """
    driver: Any = connection.connection
    for statement in _statements(query, done):
        compiled = statement.compile(dialect=connection.dialect)
        names = list(statement.selected_columns.keys())
        # psycopg unescapes %% only if there are parameters.
        text = compiled.string if compiled.params else compiled.string % ()
        copied = f"COPY ({text}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
        with driver.cursor() as cursor, cursor.copy(copied, compiled.params) as copy:
            rows = iter(copy)
            while block := b"".join(islice(rows, page_rows or PAGE_ROWS)):
                yield _make_page(query, _parse(block, names))


def read_by_cursor(
    connection: sa.Connection, query: Query, done: Position, page_rows: int | None = None
) -> Generator[Page, None, None]:
    """Yield the rows after `done` with a cursor, streamed by the server if the driver supports it.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        In SQLite this must be the connection of the writer.
    query, done, page_rows
        As of `read_by_copy`.
    """
    for statement in _statements(query, done):
        result = connection.execute(statement, execution_options={"yield_per": page_rows or PAGE_ROWS})
        names = list(result.keys())
        for rows in result.partitions(page_rows or PAGE_ROWS):
            columns = [_to_arrow(values) for values in zip(*rows, strict=True)]
            position = names.index(query.key)
            yield Page(pa.record_batch(columns, names=names), rows[0][position], rows[-1][position])


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


def _make_page(query: Query, rows: pa.RecordBatch) -> Page:
    keys = rows.column(query.key)
    return Page(rows, keys[0].as_py(), keys[-1].as_py())


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
