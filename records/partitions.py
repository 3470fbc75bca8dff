"""Partitions of the records by month, which PostgreSQL has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from records import times
from records.migrate import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

PREFIX = "churn_records_"


def name_partition(month: int) -> str:
    """Return the name of the partition of the month that begins at a time."""
    return f"{PREFIX}{times.to_datetime(month):%Y_%m}"


def create_partitions(connection: sa.Connection, months: Iterable[int]) -> None:
    """Create the partitions of the months that begin at these times, where they are missing.

    In a transaction of its own: it waits for every writer, and nobody may wait for it for long.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    for month in months:
        first, end = times.find_month(month)
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {name_partition(first)} PARTITION OF churn_records "
            f"FOR VALUES FROM ({first}) TO ({end})"
        )


def list_partitions(connection: sa.Connection) -> list[str]:
    """Return the names of the partitions, the oldest first."""
    found = connection.exec_driver_sql(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = 'churn_records'::regclass ORDER BY c.relname"
    )
    return [str(name) for name in found.scalars()]


def drop_empty(connection: sa.Connection, before: int) -> None:
    """Drop the partitions of months that ended before a time, if they are empty."""
    for name in list_partitions(connection):
        year, month = name.removeprefix(PREFIX).split("_")
        _, end = times.find_month(times.from_datetime(datetime(int(year), int(month), 1, tzinfo=UTC)))
        if end <= before and connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first() is None:  # noqa: S608  our own name
            connection.exec_driver_sql(f"DROP TABLE {name}")
