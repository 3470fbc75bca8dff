from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from bank import draw_customers, write_csv
from processes import run_python

ALL = "SELECT * FROM customers"


@pytest.fixture
def workplace(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a database of three hundred customers, one of whom has no age."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_MODELS", str(models))
    monkeypatch.setenv("CHURN_ENGINE", "onnx")
    table = draw_customers(300)
    table.loc[7, "Age"] = None
    with sqlite3.connect("bank.db") as database:
        table.to_sql("customers", database, index=False)
    database.close()
    return tmp_path


def test_a_query_is_scored_into_a_table(churn: Any, workplace: Path) -> None:
    options = ("--sql", ALL, "--url", "sqlite:///bank.db", "--table", "scores", "--summary", "summary.json")
    answer = churn("score", *options, "--keep", "Age", "--keep", "Surname", "--max-rejects", "1%")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("300 customers: 299 scored with version 1 into scores, ")
    assert answer.out.endswith("1 rejected into scores_rejects\n")
    summary = json.loads((workplace / "summary.json").read_text())
    assert (summary["rows"], summary["scored"], summary["reasons"]) == (300, 299, {"Age is missing": 1})
    with sqlite3.connect("bank.db") as database:
        names = [column[0] for column in database.execute("SELECT * FROM scores").description]
    database.close()
    assert names == ["CustomerId", "Age", "Surname", "probability", "churn", "model_version"]


def test_jobs_are_recorded_with_the_hashes_of_what_they_read_and_wrote(churn: Any, workplace: Path) -> None:
    write_csv(workplace / "customers.csv", draw_customers(50))
    store = "sqlite:///records.db"
    answer = churn("score", "customers.csv", "--output", "scores.csv", "--records", store)
    assert answer.code == 0, answer.err
    assert "recorded as entry 1 of the journal" in answer.err
    churn("score", "--sql", ALL, "--url", "sqlite:///bank.db", "--table", "scores", "--records", store)
    files, table = map(json.loads, churn("records", "jobs", "--url", store).out.splitlines())
    assert (files["kind"], files["rows"], files["model_version"]) == ("files", 50, "1")
    for name, digest in (("customers.csv", files["inputs"][0]["sha256"]), ("scores.csv", files["output_sha256"])):
        assert hashlib.sha256((workplace / name).read_bytes()).hexdigest() == digest
    assert (files["entry"], table["entry"]) == (1, 2)
    assert (table["kind"], table["query"], table["table"], table["rows"]) == ("sql", ALL, "scores", 300)
    rows = [table[part]["rows"] for part in ("input_rows", "output_rows", "rejects_rows")]
    hashes = {table[part]["hash"] for part in ("input_rows", "output_rows", "rejects_rows")}
    assert (rows, len(hashes), {one[:7] for one in hashes}) == ([300, 299, 1], 3, {"rows-1:"})
    assert churn("records", "verify", "--url", store).code == 0
    missing = churn("score", "customers.csv", "--output", "more.csv", "--records", "sqlite:///:memory:")
    assert missing.code == 1
    assert not (workplace / "more.csv").exists()


@pytest.mark.usefixtures("workplace")
def test_too_many_rejects_have_an_exit_code_of_their_own(churn: Any) -> None:
    options = ("--sql", ALL, "--url", "sqlite:///bank.db", "--table", "scores")
    answer = churn("score", *options, "--max-rejects", "0")
    assert answer.code == 2
    assert answer.err.startswith(
        "error: 1 of 300 rows could not be scored; allowed: 0; raise --max-rejects and add --resume to continue"
    )
    assert churn("score", *options, "--resume").code == 0
    answer = churn("score", *options)
    assert (answer.code, answer.err) == (
        1,
        "error: scores: the table exists; use --if-exists replace or another name\n",
    )


def test_a_file_is_scored_into_files(churn: Any, workplace: Path) -> None:
    table = draw_customers(300).astype(object)
    table.loc[7, "Age"] = "?"
    write_csv(workplace / "customers.csv", table)
    options = ("customers.csv", "--output", "scores.parquet", "--keep", "Age", "--summary", "summary.json")
    answer = churn("score", *options, "--max-rejects", "0.1%")
    assert answer.code == 2
    assert answer.err.endswith("allowed: 0.1%; raise --max-rejects and add --resume to continue\n")
    answer = churn("score", *options, "--max-rejects", "1", "--resume")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("300 customers: 299 scored with version 1 into scores.parquet, ")
    assert answer.out.endswith("; 1 rejected into scores.parquet.rejects\n")
    assert (
        (workplace / "scores.parquet.rejects")
        .read_text()
        .splitlines()[1]
        .startswith("8,15001694,Age,?,is not a number,")
    )
    ours, theirs = json.loads((workplace / "summary.json").read_text()), ("table", "rejects_table", "query", "target")
    assert churn("score", "--sql", ALL, "--url", "sqlite:///bank.db", "--table", "t", "--summary", "sql.json").code == 0
    assert {*json.loads((workplace / "sql.json").read_text())} - {*theirs} <= {*ours}
    answer = churn("score", *options)
    assert (answer.code, answer.err) == (
        1,
        "error: scores.parquet: the file exists; use --if-exists replace or another name\n",
    )
    assert churn("score", *options, "--if-exists", "replace").code == 0


@pytest.mark.usefixtures("workplace")
def test_standard_output_holds_the_scores_alone(churn: Any) -> None:
    write_csv(Path("customers.csv"), draw_customers(30))
    answer = churn("score", "customers.csv", "--output", "-")
    assert answer.out.count("\n") == 31
    assert answer.err.startswith("30 customers: 30 scored with version 1 into standard output, ")


@pytest.mark.usefixtures("workplace")
def test_an_interrupted_job_says_how_it_goes_on(churn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(Path("customers.csv"), draw_customers(30))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("batch.files.run.FileRun.run", interrupt)
    answer = churn("score", "customers.csv", "--output", "scores.csv")
    assert (answer.code, answer.err) == (130, "interrupted: run the same command with --resume to continue\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give INPUT and --output, or --sql with --url and --table"),
        (("--sql", ALL), "--sql needs --url"),
        (("--sql", ALL, "a.csv"), "can't be combined with INPUT, --output or --spark"),
        (("a.csv", "--output", "b.csv", "--key", "x", "--table", "t"), "--table, --key: allowed only with --sql"),
        (("a.csv", "--output", "b.csv", "--input-format", "xlsx"), "'xlsx' is not one of 'csv', 'csv.gz'"),
        (("--sql", ALL, "--rejects", "r.csv"), "--rejects: not allowed with --sql"),
        (
            ("--spark", "local[2]", "a.csv", "--output", "b", "--output-format", "csv"),
            "--output-format: not allowed with --spark",
        ),
        (("--sql", ALL, "--url", "sqlite:///bank.db"), "--sql needs --table"),
        (("--spark", "local[2]"), "--spark needs INPUT and --output"),
        (("--spark", "local[2]", "a.csv", "--output", "b", "--resume"), "--resume is not allowed with --spark"),
    ],
)
def test_what_is_absent_is_named(churn: Any, arguments: tuple[str, ...], message: str) -> None:
    answer = churn("score", *arguments)
    assert answer.code == 2
    assert message in answer.err


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("sqlalchemy", ("--sql", ALL, "--url", "sqlite:///bank.db", "--table", "t"), "sql"),
        ("pyarrow", ("a.csv", "--output", "b.csv"), "batch"),
        ("tqdm", ("a.csv", "--output", "b.csv"), "batch"),
        ("pyspark", ("a.csv", "--spark", "local[2]", "--output", "b"), "spark"),
    ],
)
def test_without_the_extra_the_error_names_it(
    churn: Any, monkeypatch: pytest.MonkeyPatch, module: str, arguments: tuple[str, ...], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    answer = churn("score", *arguments)
    assert answer.code == 1
    assert answer.err.endswith(f"is not installed: pip install 'churn[{extra}]'\n")


def test_scoring_a_file_loads_neither_pandas_nor_tensorflow(workplace: Path) -> None:
    write_csv(workplace / "customers.csv", draw_customers(30))
    code = """if True:
        import sys
        from cli.main import main
        sys.argv = ["churn", "score", "customers.csv", "--output", "scores.csv"]
        try:
            main()
        except SystemExit as ended:
            print(ended.code, *sorted({name.partition(".")[0] for name in sys.modules}))
    """
    done = run_python("-c", code)
    told, ended, *loaded = done.stdout.split("\n")[0], *done.stdout.split("\n")[1].split()
    assert told.startswith("30 customers: 30 scored")
    assert ended == "None"
    assert {"pyarrow", "onnxruntime"} <= {*loaded}
    assert not {*loaded} & {"pandas", "tensorflow", "keras", "sklearn"}
