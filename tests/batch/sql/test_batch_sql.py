from __future__ import annotations

import dataclasses
import signal
import threading
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from databases import fill, make_postgresql, make_sqlite, run, select, tables
from processes import run_python

from batch.chunk import REJECTS, score_rows
from batch.job_options import RejectLimit
from batch.read_ahead import read_ahead
from batch.sql import job as sql_job
from batch.sql import read as sql_read
from batch.sql import tables as sql_tables
from batch.sql.job import SqlJob, score_query
from batch.sql.query import read_key, write_key
from churn.database import open_database
from churn.drift import Drift
from churn.errors import ChurnError, TableError, TooManyRejectsError
from churn.tables.rows import Rows
from churn.tables.tally import Tally

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

SCORES = 'SELECT "CustomerId", probability, churn, model_version FROM scores ORDER BY 1'
REJECTED = 'SELECT "row", identifier, "column", value, reason, allowed FROM scores_rejects ORDER BY 1, 3'
ALL = "SELECT * FROM customers"


@pytest.fixture
def pg(server: str) -> str:
    """An empty database of PostgreSQL."""
    return make_postgresql(server)


@pytest.fixture
def customers(bank_csv: Path) -> pd.DataFrame:
    """Three hundred customers in the order of their identifiers, as text; seven values in five of them are wrong."""
    table = pd.read_csv(bank_csv, dtype=str, keep_default_na=False).head(300)
    table = table.sort_values("CustomerId", ignore_index=True)
    table.loc[0, ["Age", "Gender"]] = ""
    table.loc[17, "Age"] = "900"
    table.loc[18, "Geography"] = "Mars"
    table.loc[150, ["NumOfProducts", "Tenure"]] = "-3"
    table.loc[299, "CreditScore"] = ""
    return table


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_read, "PAGE_ROWS", 40)


def job(url: str, **chosen: Any) -> SqlJob:
    return SqlJob(**{"query": ALL, "url": url, "table": "scores", **chosen})


def accounted(url: str, rows: int) -> None:
    """See that each of `rows` customers is in exactly one of the two tables."""
    scored = [row[0] for row in select(url, 'SELECT "CustomerId" FROM scores')]
    rejected = [row[0] for row in select(url, "SELECT DISTINCT identifier FROM scores_rejects")]
    found = [*map(str, scored), *rejected]
    assert len(found) == len(set(found)) == rows


# --- What is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_text", [False, True], ids=["typed", "text"])
def test_a_query_gives_the_scores_and_rejects_of_its_rows(
    scorer: Scorer, url: str, customers: pd.DataFrame, *, as_text: bool
) -> None:
    fill(url, customers.sample(frac=1, random_state=0), as_text=as_text)
    summary = score_query(scorer, job(url))
    batch = pa.RecordBatch.from_pandas(customers, preserve_index=False)
    expected = score_rows(scorer, Rows(batch, len(batch)))
    scores = expected.scores.to_pylist()
    assert [(str(row[0]), row[1], bool(row[2]), row[3]) for row in select(url, SCORES)] == [
        tuple(row.values()) for row in scores
    ]
    found = [tuple(row) for row in select(url, REJECTED)]
    wanted = sorted((tuple(row.values()) for row in expected.rejects.to_pylist()), key=lambda row: (row[0], row[2]))
    assert [(*row[:3], *row[4:]) for row in found] == [(*row[:3], *row[4:]) for row in wanted]
    assert [_as_number(row[3]) for row in found] == [_as_number(row[3]) for row in wanted]
    assert (summary["rows"], summary["scored"], summary["rejected"]) == (300, 295, 5)
    assert sum(summary["reasons"].values()) == len(found) == 7
    assert sum(summary["scores"].values()) == 295
    assert summary["leavers"] == sum(row["churn"] for row in scores)
    assert set(summary["drift"]) == {*scorer.schema.names, "score"}
    assert tables(url) == ["customers", "scores", "scores_rejects"]
    accounted(url, 300)


def test_any_select_is_a_query(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    query = """
        -- of all whose name has an a: in whatever case, 100% of them
        WITH named AS (SELECT * FROM customers WHERE "Surname" LIKE '%ame%' AND ':a' <> '%s')
        SELECT named.*, CAST("Age" AS INTEGER) AS age_again FROM named ORDER BY "Age" DESC;
    """
    assert score_query(scorer, job(url, query=query, keep=("age_again",)))["rows"] == 300
    wrong = select(url, 'SELECT * FROM scores JOIN customers USING ("CustomerId") WHERE age_again <> "Age"')
    assert not wrong


def test_an_empty_query_gives_empty_tables(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers.head(0))
    summary = score_query(scorer, job(url))
    assert (summary["rows"], summary["drift"]["score"]) == (0, None)
    assert select(url, SCORES) == select(url, REJECTED) == []


def test_kept_columns_keep_value_and_type_in_postgresql(scorer: Scorer, pg: str, customers: pd.DataFrame) -> None:
    fill(pg, customers)
    run(
        pg,
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "ALTER TABLE customers ADD joined date, ADD note varchar(40), ADD worth numeric(20, 5), ADD tags text[], "
        "ADD vip boolean, ADD mood mood",
        """UPDATE customers SET joined = '2020-02-29', worth = 12345678901234.00001, vip = true, mood = 'bad',
           tags = '{a,"b,c"}', note = 'a "quoted", line' || chr(10) || 'and ключ \\.' WHERE "Age" > 30""",
        "UPDATE customers SET note = '' WHERE \"Age\" = 30",
    )
    kept = ("joined", "note", "worth", "tags", "vip", "mood", "Geography", "HasCrCard")
    summary = score_query(scorer, job(pg, keep=kept))
    same = " AND ".join(f'c."{name}"::text IS NOT DISTINCT FROM s."{name}"::text' for name in kept)
    joined = f'SELECT count(*) FROM scores s JOIN customers c USING ("CustomerId") WHERE {same}'
    assert select(pg, joined)[0][0] == summary["scored"]
    ask = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'scores'"
    found = dict(map(tuple, select(pg, ask)))
    assert found["CustomerId"] == "bigint"
    assert (found["joined"], found["worth"], found["tags"], found["mood"]) == ("date", "numeric", "ARRAY", "text")


def test_names_that_postgresql_folded_are_found(scorer: Scorer, pg: str, customers: pd.DataFrame) -> None:
    fill(pg, customers)
    names = ", ".join(f'"{name}" AS {name}' for name in ("CustomerId", *scorer.schema.names))
    score_query(scorer, job(pg, query=f"SELECT {names} FROM customers"))
    assert len(select(pg, "SELECT customerid FROM scores")) == 295


def test_tables_may_be_in_another_database_and_schema(
    scorer: Scorer, pg: str, tmp_path: Path, customers: pd.DataFrame
) -> None:
    file = make_sqlite(tmp_path / "bank.db")
    other = make_sqlite(tmp_path / "other.db")
    fill(file, customers)
    fill(pg, customers)
    run(pg, "CREATE SCHEMA night")
    score_query(scorer, job(file, target_url=pg, table="night.scores", rejects_table="night.bad", keep=("Age",)))
    score_query(scorer, job(pg, target_url=other, keep=("Age",)))
    ask = 'SELECT "CustomerId", "Age", probability FROM {} ORDER BY 1'
    here, there = (select(*where) for where in ((pg, ask.format("night.scores")), (other, ask.format("scores"))))
    assert [tuple(map(str, row)) for row in here] == [tuple(map(str, row)) for row in there]
    assert len(here) == 295
    assert select(pg, "SELECT count(*) FROM night.bad")[0][0] == 7


def test_a_table_without_identifier_has_another_key(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    query = f"SELECT {', '.join(map(repr_name, ('Surname', *scorer.schema.names)))} FROM customers"
    with pytest.raises(TableError, match="no column CustomerId to order its rows by; name a column with --key"):
        score_query(scorer, job(url, query=query))
    assert score_query(scorer, job(url, query=query, key="Surname"))["rows"] == 300
    found = select(url, 'SELECT "row", "Surname" FROM scores ORDER BY 1')
    assert len(found) == 295
    assert [row for row, _ in found] != list(range(1, 296))  # rejects have their numbers too
    assert [
        row for row, _ in select(url, 'SELECT DISTINCT "row", identifier FROM scores_rejects WHERE identifier IS NULL')
    ]
    with pytest.raises(Exception, match="CustomerId"):
        select(url, 'SELECT s."CustomerId" FROM scores s')


def _as_number(sent: str | None) -> object:
    return float(sent) if sent and sent.strip("-.0123456789") == "" else sent or None


def repr_name(name: str) -> str:
    return f'"{name}"'


# --- Killed and resumed ----------------------------------------------------------------------------------------------


class StopError(Exception):
    """Stands for the end of the process."""


def stop_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Let the writer end at its n-th statement that is not part of reading."""
    left = [step]

    def count(_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise StopError

    for owner, name in (
        (sql_tables.TableWriter, "append"),
        (sql_tables.CopyTableWriter, "append"),
        (sql_tables.ProgressTable, "advance"),
        (sql_tables.TableWriter, "publish"),
        (sql_tables.ProgressTable, "drop"),
        (sa.Connection, "commit"),
    ):
        true = getattr(owner, name)

        def wrapped(self: Any, *arguments: Any, _true: Any = true, **options: Any) -> Any:
            count(self)
            return _true(self, *arguments, **options)

        patch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("keys", ["unique", "ties and gaps"])
def test_stopped_anywhere_and_resumed_the_result_is_the_same(
    scorer: Scorer, url: str, customers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    monkeypatch.setattr(sql_read, "PAGE_ROWS", 13)
    customers = customers.head(40)
    fill(url, customers)
    run(url, "ALTER TABLE customers ADD branch TEXT", "UPDATE customers SET branch = 'b' || (\"Age\" / 12)")
    run(url, 'UPDATE customers SET branch = NULL WHERE "Tenure" > 7')
    wanted = job(url, key="branch" if keys == "ties and gaps" else None, if_exists="replace")
    score_query(scorer, wanted)
    scores = select(url, SCORES)
    rejected = select(url, REJECTED.replace('"row", ', "").replace("1, 3", "1, 2"))
    stops = 0
    while True:
        stops += 1
        with monkeypatch.context() as patch:
            stop_at(patch, stops)
            try:
                score_query(scorer, wanted)
                break
            except StopError:
                pass
        assert select(url, SCORES) == scores  # the old table stands until the new one is whole
        score_query(scorer, dataclasses.replace(wanted, resume=True))
        assert select(url, SCORES) == scores
        assert select(url, REJECTED.replace('"row", ', "").replace("1, 3", "1, 2")) == rejected
        assert tables(url) == ["customers", "scores", "scores_rejects"]
    assert stops > 10


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 9])
def test_killed_for_real_the_job_goes_on(
    scorer: Scorer, models: Path, url: str, customers: pd.DataFrame, step: int
) -> None:
    fill(url, customers)
    code = f"""
import os, signal, sys
from pathlib import Path
from batch.sql import read as sql_read
from batch.sql import tables as sql_tables
from batch.sql.job import SqlJob, score_query
from churn.scorer import load_scorer
sql_read.PAGE_ROWS = 25
steps = []
def kill_later(append):
    def counting(self, batch):
        append(self, batch)
        steps.append(1)
        if len(steps) == {2 * step}:
            os.kill(os.getpid(), signal.SIGKILL)
    return counting
for kind in (sql_tables.TableWriter, sql_tables.CopyTableWriter):
    kind.append = kill_later(kind.append)
score_query(load_scorer(Path(sys.argv[1]), "onnx"), SqlJob({ALL!r}, sys.argv[2], "scores"))
"""
    ended = run_python("-c", code, models / "1", url, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert tables(url) == ["customers", "scores__partial", "scores__progress", "scores_rejects__partial"]
    summary = score_query(scorer, job(url, resume=True))
    assert summary["resumed_at_row"] == 25 * (step - 1)
    assert (summary["rows"], summary["scored"], summary["rejected"]) == (300, 295, 5)
    accounted(url, 300)


def stop_midway(scorer: Scorer, wanted: SqlJob) -> None:
    """Leave a job that three of eight pages were written of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RejectLimit, "check", stop_after(3))
        with pytest.raises(StopError):
            score_query(scorer, dataclasses.replace(wanted, max_rejects=RejectLimit(10_000)))


def stop_after(pages: int) -> Any:
    seen: list[int] = []

    def check(*_: object, **__: object) -> None:
        seen.append(1)
        if len(seen) == pages:
            raise StopError

    return check


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "SELECT * FROM customers WHERE 1 = 1"}, "query was 'SELECT .* FROM customers' and is "),
        ({"keep": ("Age",)}, "keep was .* and is "),
        ({"rejects_table": "bad"}, "rejects_table was 'scores_rejects' and is 'bad'"),
    ],
)
def test_another_job_is_not_resumed(
    scorer: Scorer, url: str, customers: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    fill(url, customers)
    stop_midway(scorer, job(url))
    with pytest.raises(TableError, match=message):
        score_query(scorer, job(url, resume=True, **change))
    assert score_query(scorer, job(url, resume=True))["resumed_at_row"] == 120


def test_rows_that_came_or_went_meanwhile_are_seen(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    stop_midway(scorer, job(url))
    run(url, f'DELETE FROM customers WHERE "CustomerId" = {customers.CustomerId[2]}')
    with pytest.raises(TableError, match=r"there were 120 and now are 119; start again without --resume"):
        score_query(scorer, job(url, resume=True))
    assert score_query(scorer, job(url))["rows"] == 299


def test_tables_that_hold_other_rows_are_not_published(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    stop_midway(scorer, job(url))
    run(url, "DELETE FROM scores__partial WHERE probability = (SELECT max(probability) FROM scores__partial)")
    with pytest.raises(TableError, match="295 rows were scored and 5 rejected, but the tables have"):
        score_query(scorer, job(url, resume=True))
    assert "scores" not in tables(url)


def test_a_second_job_on_the_same_table_waits_and_gives_up(
    scorer: Scorer, pg: str, customers: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pg, customers)
    monkeypatch.setattr(sql_tables, "LOCK_WAIT", "50ms")
    true = sql_job._score_page
    refused: list[Any] = []

    def score_page(*arguments: Any) -> None:
        if not refused:
            with pytest.raises(TableError, match="scores: another job is writing the same table") as error:
                score_query(scorer, job(pg))
            refused.append(error)
        true(*arguments)

    monkeypatch.setattr(sql_job, "_score_page", score_page)
    assert score_query(scorer, job(pg))["rows"] == 300
    assert len(refused) == 1


# --- Refused ---------------------------------------------------------------------------------------------------------


def test_a_table_that_exists_is_replaced_only_when_told(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    score_query(scorer, job(url))
    with pytest.raises(TableError, match="scores: the table exists; use --if-exists replace"):
        score_query(scorer, job(url))
    run(url, 'DELETE FROM customers WHERE "Age" > 40')
    left = select(url, "SELECT count(*) FROM customers")[0][0]
    assert score_query(scorer, job(url, if_exists="replace"))["rows"] == left
    accounted(url, left)


@pytest.mark.parametrize(("limit", "rows"), [("4", 160), ("1.6%", 300), ("0", 40)])
def test_too_many_rejects_publish_nothing_and_can_be_gone_on_with(
    scorer: Scorer, url: str, customers: pd.DataFrame, limit: str, rows: int
) -> None:
    customers.loc[150, ["NumOfProducts", "Tenure"]] = "1"
    customers.loc[[151, 152], "Age"] = ""
    fill(url, customers)
    with pytest.raises(TooManyRejectsError, match=f"of {rows} rows could not be scored; allowed: {limit}"):
        score_query(scorer, job(url, max_rejects=RejectLimit.parse(limit)))
    assert "scores" not in tables(url)
    summary = score_query(scorer, job(url, max_rejects=RejectLimit.parse("2%"), resume=True))
    assert (summary["rows"], summary["rejected"], summary["resumed_at_row"]) == (300, 6, rows)
    accounted(url, 300)


@pytest.mark.parametrize("text", ["", "x", "-1", "101%", "1.5", "nan%"])
def test_a_limit_is_a_number_of_rows_or_a_share(text: str) -> None:
    with pytest.raises(ChurnError, match=r"--max-rejects: .* is not a limit; allowed: a number of rows"):
        RejectLimit.parse(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "SELECT * FROM nobody"}, "nobody"),
        ({"query": 'SELECT "CustomerId" FROM customers'}, "the query lacks columns: CreditScore, Geography"),
        ({"query": 'SELECT *, 1 AS "Age" FROM customers'}, "the query has duplicate columns: Age"),
        ({"key": "shoe size"}, "the query has no column shoe size; it has: CustomerId, "),
        ({"table": "x" * 300}, "the table name must have from 1 to"),
        ({"table": "t", "rejects_table": "t"}, "t: scores and rejects need different tables"),
    ],
)
def test_what_can_not_be_scored_is_refused_and_leaves_nothing(
    scorer: Scorer, url: str, customers: pd.DataFrame, change: dict[str, Any], message: str
) -> None:
    fill(url, customers.head(3))
    if "table" in change and len(change["table"]) > 100 and url.startswith("sqlite"):
        pytest.skip("SQLite's names have any length")
    with pytest.raises(TableError, match=message):
        score_query(scorer, job(url, **change))
    assert tables(url) == ["customers"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "the database URL is invalid; allowed: an SQLAlchemy URL"),
        ("s3cret-word@nowhere", "the database URL is invalid"),
        ("sqlite:////nowhere/bank.db", "/nowhere/bank.db: the SQLite file does not exist"),
        ("teradatabase://bank:s3cret-word@host/db", "unknown database 'teradatabase'"),
        ("oracle+oracledb://bank:s3cret-word@host/db", "the driver for oracle.oracledb is not installed"),
        ("postgresql://bank:s3cret-word@127.0.0.1:9/db", r"postgresql.psycopg://bank:\*\*\*@127.0.0.1:9/db: "),
    ],
)
def test_a_database_that_can_not_be_opened_is_named_without_its_password(
    scorer: Scorer, address: str, message: str
) -> None:
    with pytest.raises(TableError, match=message) as error:
        score_query(scorer, job(address))
    assert "s3cret-word" not in str(error.value)


def test_a_failing_database_is_told_in_one_message(scorer: Scorer, pg: str, customers: pd.DataFrame) -> None:
    fill(pg, customers)
    late = 'SELECT c.*, 1 / ("CustomerId" - (SELECT max("CustomerId") FROM customers)) AS x FROM customers c'
    with pytest.raises(TableError, match=r"^postgresql.psycopg://bank:\*\*\*@/.*: division by zero$"):
        score_query(scorer, job(pg, query=late, keep=("x",)))
    assert "scores" not in tables(pg)


# --- Parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [-5, "a'\"b", 0.1 + 0.2, pd.Timestamp("2020-01-02").date()])
def test_a_key_is_read_as_it_was_written(key: object) -> None:
    assert read_key(write_key(key)) == key


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(TableError, match="jobs can't be resumed from values of type bytes; allowed: int, str"):
        write_key(b"1")


def test_a_tally_goes_on_from_its_state(scorer: Scorer, customers: pd.DataFrame) -> None:
    batch = pa.RecordBatch.from_pandas(customers, preserve_index=False)
    whole, first, second = (Tally(Drift(scorer.manifest)) for _ in range(3))
    for tally, rows in ((whole, batch), (first, batch.slice(0, 100)), (second, batch.slice(100))):
        if tally is second:
            second.restore(first.to_state())
        tally.add(score_rows(scorer, Rows(rows, len(rows))).scored)
    assert second.summarize() == whole.summarize()


def test_reading_ahead_hands_on_items_and_errors_and_ends_its_thread() -> None:
    closed = []

    def items() -> Any:
        try:
            yield 1
            yield 2
            raise ValueError("three")
        finally:
            closed.append(threading.current_thread().name)

    with read_ahead(items()) as ahead:
        assert next(ahead) == 1
        assert next(ahead) == 2
        with pytest.raises(ValueError, match="three"):
            next(ahead)
    with read_ahead(items()) as ahead:
        next(ahead)
    assert len(closed) == 2
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())


def test_rejects_have_the_columns_of_files(scorer: Scorer, url: str, customers: pd.DataFrame) -> None:
    fill(url, customers)
    score_query(scorer, job(url))
    with open_database(url).engine.connect() as connection:
        columns = sa.inspect(connection).get_columns("scores_rejects")
    assert [column["name"] for column in columns] == REJECTS.names
