"""`churn records check-job`: what it says of the files and tables of a recorded job."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from bank import draw_customers, write_csv

from records.jobs import record_job
from records.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

STORE, BANK = "sqlite:///records.db", "sqlite:///bank.db"


@pytest.fixture
def workplace(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file and a database of fifty customers, one of whom has no age."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_MODELS", str(models))
    monkeypatch.setenv("CHURN_ENGINE", "onnx")
    monkeypatch.setenv("CHURN_RECORDS", STORE)
    table = draw_customers(50)
    table.loc[7, "Age"] = None
    write_csv(tmp_path / "customers.csv", table)
    with closing(sqlite3.connect("bank.db")) as database:
        table.to_sql("customers", database, index=False)
    return tmp_path


def change(statement: str) -> None:
    with closing(sqlite3.connect("bank.db")) as database:
        database.execute(statement)
        database.commit()


@pytest.mark.usefixtures("workplace")
def test_tables_are_compared_by_their_rows(churn: Any) -> None:
    sql = ("--sql", "SELECT * FROM customers", "--url", BANK, "--table", "scores")
    recorded = churn("score", *sql, "--records", STORE)
    assert "recorded as entry 1 of the journal" in recorded.err
    for part in ("input", "output", "rejects"):
        answer = churn("records", "check-job", 1, "--part", part, "--database", BANK)
        assert answer.code == 0, answer.err
        assert f"the {part} matches the record of 20" in answer.out
    change("CREATE TABLE kept AS SELECT * FROM scores ORDER BY probability DESC")
    change("UPDATE scores SET churn = NOT churn WHERE rowid = 7")
    answer = churn("records", "check-job", 1, "--database", BANK)
    assert answer.code == 1
    assert (answer.out, answer.err.count("scores: 49 rows, rows-1:")) == ("", 1)
    assert "scores: recorded 49 rows, rows-1:" in answer.err
    assert "error: the output differs from the record of 20" in answer.err
    answer = churn("records", "check-job", 1, "--database", BANK, "--rows", "SELECT * FROM kept")
    assert (answer.code, answer.err) == (0, "")
    assert "the job read and wrote tables of a database: give --database" in churn("records", "check-job", 1).err


def test_files_are_compared_by_their_bytes(churn: Any, workplace: Path) -> None:
    churn("score", "customers.csv", "--output", "scores.csv", "--records", STORE)
    for part in ("input", "output", "rejects"):
        assert churn("records", "check-job", 1, "--part", part).code == 0
    (workplace / "scores.csv").rename(workplace / "old.csv")
    answer = churn("records", "check-job", 1)
    assert (answer.code, answer.err.startswith("error: scores.csv: can't be read: ")) == (1, True)
    assert churn("records", "check-job", 1, "--rows", "old.csv").code == 0
    answer = churn("records", "check-job", 1, "--rows", "customers.csv")
    assert answer.code == 1
    assert "customers.csv: recorded " in answer.err


@pytest.mark.slow
def test_folders_of_spark_are_compared_by_their_rows(churn: Any, workplace: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'churn[spark]'")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is not installed (Debian: apt-get install openjdk-17-jre-headless)")
    recorded = churn("score", "customers.csv", "--spark", "local[1]", "--output", "scores", "--records", STORE)
    assert "recorded as entry 1 of the journal" in recorded.err
    check = ("records", "check-job", 1, "--spark", "local[1]")
    assert "customers.csv: 50 rows, rows-1:" in churn(*check, "--part", "input").out
    (workplace / "scores").rename("moved")
    answer = churn(*check, "--rows", "moved", "--models", "nowhere")
    assert (answer.code, "the output matches the record" in answer.out) == (0, True), answer.err
    answer = churn(*check, "--part", "rejects", "--rows", "moved")
    assert answer.code == 1
    assert "moved: lacks columns: " in answer.err


@pytest.mark.usefixtures("workplace")
def test_what_is_not_recorded_is_told(churn: Any) -> None:
    store = open_store(STORE, create=True)
    record_job(store, "sql", {"input_rows": None, "query": "SELECT 1"})
    record_job(store, "files", {"inputs": [{"name": name, "sha256": "00"} for name in "ab"]})
    answer = churn("records", "check-job", 1, "--part", "input", "--database", BANK)
    assert answer.err == "error: entry 1 of the journal has no hash of its input\n"
    answer = churn("records", "check-job", 2, "--part", "input", "--rows", "customers.csv")
    assert answer.err == "error: entry 2 of the journal has 2 inputs, which are found by name\n"
    answer = churn("records", "check-job", 3)
    assert answer.err == "error: entry 3 of the journal is not a batch job; `churn records jobs` lists them\n"
