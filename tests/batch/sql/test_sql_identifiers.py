"""Identifiers of queries: whole numbers stay whole, UUIDs are text, row numbers have a name of their own."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from bank import draw_customers
from databases import run, select

from batch.sql.job import SqlJob, score_query
from churn.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

UUIDS = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]


def fill(path: Path, identifiers: list[Any], name: str = "CustomerId") -> str:
    """Write three customers to a file of SQLite and return its URL."""
    table = draw_customers(3).astype(object)
    table["CustomerId"] = identifiers
    names = [name if column == "CustomerId" else column for column in table.columns]
    with closing(sqlite3.connect(path)) as database:
        form = ", ".join('"' + column + '"' for column in names)
        database.execute(f"CREATE TABLE customers ({form})")
        marks = ", ".join("?" * len(names))
        database.executemany(f"INSERT INTO customers VALUES ({marks})", table.to_numpy().tolist())
        database.commit()
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("identifiers", "texts"),
    [
        ([12345678901.0, 7.0, 8.0], ["12345678901", "7", "8"]),
        ([12345678901, 7, 8], ["12345678901", "7", "8"]),
        (UUIDS, UUIDS),
        (["007", "1e3", "8"], ["007", "1e3", "8"]),
        ([1.5, "b", 8], ["1.5", "8", "b"]),
    ],
)
def test_identifiers_are_written_as_text(
    scorer: Scorer, tmp_path: Path, identifiers: list[Any], texts: list[str]
) -> None:
    url = fill(tmp_path / "bank.db", identifiers)
    score_query(scorer, SqlJob("SELECT * FROM customers", url, "scores"))
    assert sorted(row[0] for row in select(url, 'SELECT "CustomerId" FROM scores')) == sorted(texts)


def test_bytes_name_nobody(scorer: Scorer, tmp_path: Path) -> None:
    url = fill(tmp_path / "bank.db", [uuid.UUID(one).bytes for one in UUIDS])
    with pytest.raises(TableError, match=r"CustomerId has bytes that are not text.*allowed: texts, whole"):
        score_query(scorer, SqlJob("SELECT * FROM customers", url, "scores"))


def test_row_numbers_have_a_name_of_their_own(scorer: Scorer, tmp_path: Path) -> None:
    url = fill(tmp_path / "bank.db", [70, 80, 90], "Customer_Id")
    summary = score_query(scorer, SqlJob("SELECT * FROM customers", url, "scores", key="Customer_Id"))
    assert select(url, 'SELECT "row", "Customer_Id" FROM scores ORDER BY 1') == [(1, 70), (2, 80), (3, 90)]
    assert "the query has no column CustomerId" in summary["notes"][0]
    assert "Is it Customer_Id? Then rename that column." in summary["notes"][0]
    fill(tmp_path / "other.db", [70, 80, 90], "row")
    with pytest.raises(TableError, match="--keep row: the output identifies customers by a column of this name"):
        score_query(scorer, SqlJob("SELECT * FROM customers", f"sqlite:///{tmp_path}/other.db", "scores", key="row"))


def test_the_results_own_columns_make_room_for_those_passed_through(scorer: Scorer, tmp_path: Path) -> None:
    url = fill(tmp_path / "bank.db", [1, 2, 3])
    query = 'SELECT *, "CustomerId" * 2 AS "Churn" FROM customers'
    score_query(scorer, SqlJob(query, url, "scores", keep=("Churn",)))
    found = select(url, 'SELECT "Churn", predicted_churn = (probability > 0.5) FROM scores ORDER BY 1')
    assert found == [(2, 1), (4, 1), (6, 1)]


@pytest.mark.parametrize("end", ["; -- tonight's", "-- tonight", " /* a; */ ;;\n", ";"])
def test_what_follows_the_query_is_left_out(scorer: Scorer, tmp_path: Path, end: str) -> None:
    url = fill(tmp_path / "bank.db", [1, 2, 3])
    query = f"SELECT *, ';--' AS \"a;--\" FROM customers -- all;\nWHERE 1 = 1{end}"
    assert score_query(scorer, SqlJob(query, url, "scores"))["scored"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "identifiers", "written"),
    [
        ("uuid", [f"'{one}'" for one in UUIDS], [uuid.UUID(one) for one in UUIDS]),
        ("double precision", ["12345678901.0", "7", "8"], [12345678901.0, 7.0, 8.0]),
        ("numeric", ["12345678901", "7", "8"], [12345678901, 7, 8]),
    ],
)
def test_postgresql_keeps_the_type(
    scorer: Scorer, server: str, tmp_path: Path, kind: str, identifiers: list[str], written: list[Any]
) -> None:
    table = draw_customers(3)
    names = [column for column in table.columns if column != "CustomerId"]
    run(server, "DROP TABLE IF EXISTS people", "DROP TABLE IF EXISTS scores", "DROP TABLE IF EXISTS scores_rejects")
    run(
        server,
        f'CREATE TABLE people ("CustomerId" {kind}, {", ".join(f"{chr(34)}{name}{chr(34)} text" for name in names)})',
    )
    for identifier, cells in zip(identifiers, table[names].astype(str).to_numpy().tolist(), strict=True):
        run(server, f"INSERT INTO people VALUES ({identifier}, {', '.join(repr(cell) for cell in cells)})")
    query = "SELECT * FROM people; -- $$ it's /* all"
    score_query(scorer, SqlJob(query, server, "scores"))
    assert [row[0] for row in select(server, 'SELECT "CustomerId" FROM scores ORDER BY 1')] == sorted(written)
    target = tmp_path / "target.db"
    target.touch()
    score_query(scorer, SqlJob(query, server, "scores", target_url=f"sqlite:///{target}"))
    found = [row[0] for row in select(f"sqlite:///{target}", 'SELECT "CustomerId" FROM scores')]
    assert sorted(found) == sorted(one.strip("'").removesuffix(".0") for one in identifiers)
