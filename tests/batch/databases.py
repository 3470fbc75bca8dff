"""Databases for the tests: SQLite always, PostgreSQL where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from churn.database import Database, open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import pytest

COLUMNS = {
    "CustomerId": "BIGINT",
    "Surname": "TEXT",
    "CreditScore": "INTEGER",
    "Geography": "TEXT",
    "Gender": "TEXT",
    "Age": "INTEGER",
    "Tenure": "SMALLINT",
    "Balance": "NUMERIC(12, 2)",
    "NumOfProducts": "INTEGER",
    "HasCrCard": "BOOLEAN",
    "IsActiveMember": "BOOLEAN",
    "EstimatedSalary": "DOUBLE PRECISION",
}
"""Types as a warehouse has them; `as_text` makes all of them TEXT, as a landing table has them."""


def make_sqlite(path: Path) -> str:
    """Make an empty file of SQLite and return its URL."""
    path.touch()
    return f"sqlite:///{path}"


def make_postgresql(server: str) -> str:
    """Make an empty database on a server of PostgreSQL and return its URL."""
    engine = open_database(server).engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = f"bank{connection.execute(sa.text('SELECT count(*) FROM pg_database')).scalar_one()}"
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


def make_empty(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a database of a kind, for a store that isn't there yet; PostgreSQL may skip the test."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'records.db'}"
    return make_postgresql(request.getfixturevalue("server"))


def fill(url: str, customers: pd.DataFrame, name: str = "customers", *, as_text: bool = False) -> None:
    """Write a table of customers, its cells given as text."""
    columns = [column for column in COLUMNS if column in customers]
    form = ", ".join(f'"{column}" {"TEXT" if as_text else COLUMNS[column]}' for column in columns)
    target = sa.table(name, *map(sa.column, columns))
    with open_database(url).engine.begin() as connection:
        connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))
        connection.execute(sa.text(f"CREATE TABLE {name} ({form})"))
        rows = customers[columns].to_dict("records")
        if rows:
            connection.execute(sa.insert(target), [_typed(row, as_text=as_text) for row in rows])


def _typed(row: Mapping[Any, Any], *, as_text: bool) -> dict[str, Any]:
    if as_text:
        return dict(row)
    numbers: dict[str, Callable[[str], Any]]
    numbers = {"DOUBLE PRECISION": float, "TEXT": str, "BOOLEAN": lambda cell: cell == "1", "NUMERIC(12, 2)": float}
    return {name: None if cell == "" else numbers.get(COLUMNS[name], int)(cell) for name, cell in row.items()}


def run(url: str, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    for statement in statements:
        with open_database(url).engine.begin() as connection:
            connection.execute(sa.text(statement))


def select(url: str, statement: str) -> Sequence[Any]:
    """Return the rows of a statement."""
    with open_database(url).engine.connect() as connection:
        return connection.execute(sa.text(statement)).all()


def tables(url: str) -> list[str]:
    """Return the names of all tables, in order."""
    with open_database(url).engine.connect() as connection:
        return sorted(sa.inspect(connection).get_table_names())


def connect(url: str) -> Database:
    """Return the database."""
    return open_database(url)
