"""Hashes of the rows that a job for a database reads and writes, and what a later check of them finds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import sqlalchemy as sa
from bank import draw_customers
from databases import COLUMNS, fill, make_postgresql, run, select

from batch.job_options import RejectLimit
from batch.row_hash import RowHash
from batch.sql import read as sql_read
from batch.sql.check import check_table
from batch.sql.hashing import hash_query
from batch.sql.job import SqlJob, score_query
from batch.sql.tables import Tables
from churn.database import open_database
from churn.errors import ChurnError, TableError

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

ALL = "SELECT * FROM customers"
PARTS = ("input_rows", "output_rows", "rejects_rows")


class StopError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def customers(bank_csv: Path) -> pd.DataFrame:
    """A hundred customers as text; two of them can't be scored."""
    table = pd.read_csv(bank_csv, dtype=str, keep_default_na=False).head(100)
    table.loc[17, "Age"] = "900"
    table.loc[60, ["Geography", "Gender"]] = ["Mars", ""]
    return table


def score(scorer: Scorer, url: str, pages: int = 30, **chosen: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "query": ALL,
        "url": url,
        "table": "scores",
        "keep": ("Surname", "Balance"),
        "has_hashes": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_read, "PAGE_ROWS", pages)
        return score_query(scorer, SqlJob(**(wanted | {"if_exists": "replace"} | chosen)))


def stop(scorer: Scorer, url: str, pages: int, **chosen: Any) -> None:
    """Leave a job of which some pages of 10 rows are committed."""
    seen: list[int] = []

    def check(*_: object, **__: object) -> None:
        seen.append(1)
        if len(seen) == pages:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RejectLimit, "check", check)
        with pytest.raises(StopError):
            score(scorer, url, 10, max_rejects=RejectLimit(100), **chosen)


def as_recorded(summary: dict[str, Any]) -> dict[str, Any]:
    return {"entry": 7} | summary


# --- What is hashed --------------------------------------------------------------------------------------------------


def test_order_and_pages_make_no_difference(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    once = score(scorer, url)
    fill(url, customers.sample(frac=1, random_state=1))
    again = score(scorer, url, 7)
    assert [once[part] for part in PARTS] == [again[part] for part in PARTS]
    assert [once[part]["rows"] for part in PARTS] == [100, 98, len(select(url, "SELECT * FROM scores_rejects"))]
    assert once["input_rows"]["columns"] == sorted({"CustomerId", *scorer.schema.names, "Surname", "Balance"})
    names = ["CustomerId", "Surname", "Balance", "probability", "churn", "model_version"]
    assert once["output_rows"]["columns"] == sorted(names)


def test_nothing_is_hashed_unless_it_is_wanted(
    scorer: Scorer, url: str, customers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    fill(url, customers)
    monkeypatch.setattr(RowHash, "add_lines", refuse)
    assert not set(PARTS) & score(scorer, url, has_hashes=False).keys()
    with pytest.raises(AssertionError):
        score(scorer, url)


def test_numbers_and_texts_in_one_column_of_sqlite_make_no_difference_to_its_pages(
    scorer: Scorer, tmp_path: Path
) -> None:
    """Arrow reads a page of whole numbers as such, with a fraction among them as floats, with a text as texts."""
    table = draw_customers(6).astype(object)
    table["note"] = [1, 2.5, 1.0, "x", None, 1]
    path = tmp_path / "bank.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE customers ({', '.join(table.columns)})")
        database.executemany(
            f"INSERT INTO customers VALUES ({', '.join('?' * table.shape[1])})", table.to_numpy().tolist()
        )
        database.commit()
    found = [score(scorer, f"sqlite:///{path}", pages, keep=("note",))["input_rows"] for pages in (1, 2, 3, 6)]
    assert all(one == found[0] for one in found)


def test_lines_of_postgresql_are_those_of_other_databases(server: str) -> None:
    url = make_postgresql(server)
    texts = ["a", None, "", "a,b", 'say "a"', "two\nlines", "a\r", " ", "\\.", "\\N", "é", ";\t"]
    database = open_database(url)
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE texts (a TEXT, b TEXT, c BOOLEAN, d BIGINT)"))
        rows = [{"a": a, "b": b, "c": True, "d": 7} for a in texts for b in texts]
        connection.execute(sa.text("INSERT INTO texts VALUES (:a, :b, :c, :d)"), rows)
        copied, fetched = (hash_query(connection, "SELECT * FROM texts", can_copy=one) for one in (True, False))
    assert copied.rows == len(texts) ** 2
    assert copied.describe() == fetched.describe()


# --- Resumed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 4, 9])
def test_a_resumed_job_has_the_hashes_of_one_that_was_not_killed(
    scorer: Scorer, url: str, customers: pd.DataFrame, pages: int
) -> None:
    fill(url, customers)
    whole = score(scorer, url)
    stop(scorer, url, pages)
    resumed = score(scorer, url, 8, resume=True)
    assert resumed["resumed_at_row"] == 10 * pages
    assert [resumed[part] for part in PARTS] == [whole[part] for part in PARTS]


def test_rows_that_changed_after_they_were_scored_are_hashed_as_they_were_read(
    scorer: Scorer, url: str, customers: pd.DataFrame
) -> None:
    fill(url, customers)
    whole = score(scorer, url)
    stop(scorer, url, 4)
    first = select(url, 'SELECT min("CustomerId") FROM customers')[0][0]
    run(url, f'UPDATE customers SET "Surname" = \'Other\' WHERE "CustomerId" = {first}')
    resumed = score(scorer, url, resume=True)
    assert resumed["input_rows"] == whole["input_rows"]
    assert not check_table(as_recorded(resumed), "input", url).is_same


def test_rows_that_a_run_without_hashes_read_leave_the_input_without_one(
    scorer: Scorer, url: str, customers: pd.DataFrame
) -> None:
    fill(url, customers)
    whole = score(scorer, url)
    stop(scorer, url, 4, has_hashes=False)
    resumed = score(scorer, url, resume=True)
    assert resumed["input_rows"] is None
    assert resumed["notes"][-1] == ("the first 40 rows were scored by a run without --records: the input has no hash")
    assert resumed["output_rows"] == whole["output_rows"]
    with pytest.raises(ChurnError, match="entry 7 of the journal has no hash of its input"):
        check_table(as_recorded(resumed), "input", url)


def test_a_job_that_ended_before_its_tables_were_renamed_keeps_its_hashes(
    scorer: Scorer, url: str, customers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a database that commits at each renaming."""
    fill(url, customers)
    whole = score(scorer, url)

    def commit_and_stop(tables: Tables) -> None:
        tables._connection.commit()
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(Tables, "publish", commit_and_stop)
        with pytest.raises(StopError):
            score(scorer, url)
    resumed = score(scorer, url, resume=True)
    assert [resumed[part] for part in PARTS] == [whole[part] for part in PARTS]


# --- Checked later ---------------------------------------------------------------------------------------------------


def test_a_table_that_was_not_changed_is_what_was_recorded(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    recorded = as_recorded(score(scorer, url))
    run(url, "CREATE TABLE copied AS SELECT * FROM scores ORDER BY probability", "ALTER TABLE scores ADD later TEXT")
    assert all(check_table(recorded, part, url).is_same for part in ("input", "output", "rejects"))
    found = check_table(recorded, "output", url, "SELECT * FROM copied -- of scores")
    assert (found.name, found.is_same) == ("SELECT * FROM copied -- of scores", True)
    assert found.found == f"98 rows, {recorded['output_rows']['hash']}"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE scores SET probability = probability + 0.000001 WHERE {one}",
        "UPDATE scores SET churn = NOT churn WHERE {one}",
        "UPDATE scores SET churn = NULL WHERE {one}",
        "UPDATE scores SET model_version = '' WHERE {one}",
        'UPDATE scores SET "Surname" = NULL WHERE "Surname" = \'\'',
        "DELETE FROM scores WHERE {one}",
        "INSERT INTO scores SELECT * FROM scores WHERE {one}",
    ],
    ids=["probability", "decision", "null", "empty", "null for empty", "missing", "repeated"],
)
def test_whatever_was_changed_is_found(scorer: Scorer, url: str, customers: pd.DataFrame, change: str) -> None:
    customers.loc[3, "Surname"] = "empty"
    fill(url, customers)
    run(url, "UPDATE customers SET \"Surname\" = '' WHERE \"Surname\" = 'empty'")
    recorded = as_recorded(score(scorer, url))
    one = select(url, 'SELECT min("CustomerId") FROM scores')[0][0]
    run(url, change.format(one=f"\"CustomerId\" = '{one}'"))
    found = check_table(recorded, "output", url)
    assert not found.is_same
    assert check_table(recorded, "input", url).is_same


def test_names_that_the_database_folded_are_found_again(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    columns = ", ".join(f'"{name}" AS {name.lower()}' for name in COLUMNS)
    run(url, f"CREATE TABLE folded AS SELECT {columns} FROM customers")
    recorded = as_recorded(score(scorer, url, query="SELECT * FROM folded"))
    assert check_table(recorded, "input", url).is_same


def test_a_table_in_a_schema_is_found(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    schema = "main" if url.startswith("sqlite") else "public"
    recorded = as_recorded(score(scorer, url, table=f"{schema}.scores"))
    assert check_table(recorded, "output", url).is_same


def test_a_table_that_lacks_a_column_is_refused(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    recorded = as_recorded(score(scorer, url))
    with pytest.raises(TableError, match="has no column Balance; it has: probability"):
        check_table(recorded, "output", url, "SELECT probability FROM scores")
