from __future__ import annotations

import hashlib
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import file_jobs
import pandas as pd
import pyarrow as pa
import pytest
from file_jobs import draw_dirty, expect, read, read_rejects, score, write
from pyarrow import fs, parquet

from batch.files import locations, sink, source_arrow
from batch.files.job import FileJob
from batch.files.pipe_job import score_pipe
from batch.job_options import RejectLimit
from churn.errors import TableError, TooManyRejectsError
from churn.tables import csv_file

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

FORMS = ("csv", "csv.gz", "csv.zst", "parquet", "arrow", "arrows")


@pytest.fixture
def customers() -> pd.DataFrame:
    return draw_dirty()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small tables be cut into many blocks, parts and groups."""
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(source_arrow, "BATCH_ROWS", 100)
    monkeypatch.setattr(sink, "GROUP_ROWS", 150)


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_and_written(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, form: str) -> None:
    source = write(customers, tmp_path / f"customers.{form}")
    summary = score(scorer, source, tmp_path / f"scores.{form}", keep=("Surname", "Geography"))
    scores, rejects = expect(scorer, customers, ("Surname", "Geography"))
    assert read(tmp_path / f"scores.{form}").to_pylist() == scores
    assert read_rejects(tmp_path / f"scores.{form}.rejects") == rejects
    assert (summary["rows"], summary["rejected"], sum(summary["reasons"].values())) == (600, 6, 8)
    assert {path.name for path in tmp_path.iterdir()} == {source.name, f"scores.{form}", f"scores.{form}.rejects"}


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv.zst"])
def test_names_are_quoted_only_where_necessary(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    write(customers.rename(columns={"Surname": 'say "hi", please'}), tmp_path / "customers.csv")
    score(scorer, tmp_path / "customers.csv", tmp_path / f"scores.{form}", keep=('say "hi", please', "Geography"))
    with pa.input_stream(tmp_path / f"scores.{form}") as stream:
        header = stream.read().decode().splitlines()[0]
    assert header == 'CustomerId,"say ""hi"", please",Geography,probability,churn,model_version'
    assert read(tmp_path / f"scores.{form}").column_names[1] == 'say "hi", please'


def test_typed_columns_are_passed_through_as_they_are(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    table = customers.assign(Joined=pd.Timestamp("2020-02-29").date(), Land=customers.Geography.astype("category"))
    write(table, tmp_path / "customers.parquet")
    score(scorer, tmp_path / "customers.parquet", tmp_path / "scores.parquet", keep=("Joined", "Land"))
    found = parquet.read_table(tmp_path / "scores.parquet")
    assert found.schema.field("Joined").type == pa.date32()
    assert set(found.column("Land").to_pylist()) <= {None, "France", "Germany", "Spain"}
    assert parquet.read_metadata(tmp_path / "scores.parquet").num_row_groups == 3


def test_rows_without_identifier_are_numbered_across_files_and_blocks(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    plain = customers.drop(columns="CustomerId")
    for form in ("csv", "parquet"):
        for name, part in (("a", plain[:250]), ("b", plain[250:])):
            write(part, folder / f"{name}.{form}")
        summary = score(scorer, f"{folder}/*.{form}", tmp_path / "scores.csv", if_exists="replace")
        assert "has no column CustomerId" in summary["notes"][0]
        scores = read(tmp_path / "scores.csv")
        assert scores.column_names == ["row", "probability", "churn", "model_version"]
        assert scores.column("row").to_pylist() == [row["row"] for row in expect(scorer, plain)[0]]
        assert read_rejects(tmp_path / "scores.csv.rejects") == expect(scorer, plain)[1]


def test_folders_tell_columns_to_score_and_to_keep(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    fine = customers[customers.Geography != "Mars"]
    parts = []
    for country, part in fine.groupby("Geography"):
        folder = tmp_path / "bank" / f"Geography={str(country) or '__HIVE_DEFAULT_PARTITION__'}" / "year=20%2024"
        folder.mkdir(parents=True)
        write(part.drop(columns="Geography"), folder / "part-0.parquet")
        parts.append((str(folder), part.assign(year="20 24")))
    ordered = pd.concat(part for _, part in sorted(parts, key=lambda pair: pair[0]))
    scores, rejects = expect(scorer, ordered, ("year", "Geography"))
    for source in (tmp_path / "bank", f"{tmp_path}/b*k/**/*.parquet"):
        score(scorer, source, tmp_path / "scores.parquet", keep=("year", "Geography"), if_exists="replace")
        assert read(tmp_path / "scores.parquet").to_pylist() == scores
        assert read_rejects(tmp_path / "scores.parquet.rejects") == rejects


def test_other_file_systems_are_read_and_written(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store" / "in").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write(customers, tmp_path / "store" / "in" / "a.csv")
    store = fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem())
    whole = fs.FileSystem.from_uri

    def find(uri: str) -> Any:
        return (store, uri.removeprefix("st://key:pass@b/")) if uri.startswith("st://") else whole(uri)

    monkeypatch.setattr(locations, "open_uri", find)
    summary = score(scorer, "st://key:pass@b/in/*.csv", "st://key:pass@b/scores.parquet", summary=tmp_path / "s.json")
    assert "pass" not in json.dumps(summary)
    assert summary["inputs"][0]["name"] == "st://b/in/a.csv"
    assert read(tmp_path / "store" / "scores.parquet").to_pylist() == expect(scorer, customers)[0]
    assert read_rejects(tmp_path / "store" / "scores.parquet.rejects") == expect(scorer, customers)[1]
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"in", "scores.parquet", "scores.parquet.rejects"}
    assert not list((tmp_path / "here").iterdir())
    with pytest.raises(TableError, match=r"st://b/scores\.parquet: the file exists"):
        score(scorer, "st://key:pass@b/in/a.csv", "st://key:pass@b/scores.parquet")
    score(scorer, (tmp_path / "store" / "in" / "a.csv").as_uri(), (tmp_path / "local.csv").as_uri())
    assert read(tmp_path / "local.csv").to_pylist() == expect(scorer, customers)[0]
    with pytest.raises(TableError, match="nothing://x: can't be opened"):
        score(scorer, "nothing://x", tmp_path / "x.csv")


# --- Dirty files -----------------------------------------------------------------------------------------------------

CLEAN = file_jobs.with_gaps(file_jobs.draw_customers(300, seed=9)).astype(object)
CLEAN = CLEAN.map(lambda cell: "" if pd.isna(cell) else str(cell))
LINES = CLEAN.to_csv(index=False).splitlines()


def replace_cell(row: int, column: str, cell: str) -> str:
    """Return the table with one cell replaced, rows counted from 1."""
    table = CLEAN.copy()
    table.loc[row - 1, column] = cell
    return str(table.to_csv(index=False))


def replace_line(number: int, change: Any) -> str:
    lines = [*LINES]
    lines[number] = change(lines[number])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "rejected"),
    [
        pytest.param(replace_cell(7, "Age", ""), {7: ("Age", None, "is missing")}, id="blank"),
        pytest.param(replace_cell(7, "Age", "?"), {7: ("Age", "?", "is not a number")}, id="question mark"),
        pytest.param(replace_cell(7, "Gender", "?"), {7: ("Gender", "?", "is an unknown category")}, id="category"),
        pytest.param(replace_cell(7, "Tenure", "-1"), {7: ("Tenure", "-1", "is too small")}, id="impossible"),
        pytest.param(CLEAN.to_csv(index=False, sep=";"), {}, id="semicolons"),
        pytest.param(
            replace_line(7, lambda line: line.replace(",", ";", 3)),
            {7: (None, LINES[7].replace(",", ";", 3), "has 11 fields")},
            id="a semicolon for a comma in a line",
        ),
        pytest.param(
            replace_line(7, lambda line: line + ",x"),
            {7: (None, LINES[7] + ",x", "has 15 fields")},
            id="a field too many",
        ),
        pytest.param(
            replace_line(300, lambda line: line[:20]),
            {300: (None, LINES[300][:20], f"has {1 + LINES[300][:20].count(',')} fields")},
            id="cut off at the end",
        ),
        pytest.param("\r\n".join(LINES) + "\r\n", {}, id="CRLF"),
        pytest.param("\r".join(LINES), {}, id="CR alone"),
        pytest.param("\ufeff" + "\n".join(LINES), {}, id="byte-order mark"),
        pytest.param("\n\n" + "\n\n".join(LINES) + "\n\n", {}, id="blank lines"),
        pytest.param(CLEAN.assign(Extra="a,\nb", More=1).to_csv(index=False), {}, id="extra columns"),
        pytest.param(CLEAN[CLEAN.columns[::-1]].rename(columns=" {} ".format).to_csv(index=False), {}, id="order"),
        pytest.param(
            CLEAN.assign(Exited=CLEAN.Exited.map({"0": "no", "1": "yes"})).to_csv(index=False), {}, id="label"
        ),
        pytest.param("\n".join([*LINES, *LINES[1:]]), {}, id="repeated rows"),
    ],
)
def test_every_row_of_a_dirty_file_is_accounted_for(
    scorer: Scorer, tmp_path: Path, text: str, rejected: dict[int, tuple[Any, ...]]
) -> None:
    (tmp_path / "bank.csv").write_text(text, newline="")
    summary = score(scorer, tmp_path / "bank.csv", tmp_path / "scores.csv")
    times = summary["rows"] // 300
    assert summary["rows"] == 300 * times
    expected = expect(scorer, CLEAN)[0] * times
    assert read(tmp_path / "scores.csv").to_pylist() == [
        row for number, row in enumerate(expected, start=1) if number not in rejected
    ]
    found = read_rejects(tmp_path / "scores.csv.rejects")
    assert {row["row"]: (row["column"], row["value"], row["reason"]) for row in found} == rejected
    assert summary["rejected"] == len(rejected)
    assert all(row["allowed"] for row in found)


def test_a_file_without_rows_is_an_answer_without_rows(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "bank.csv").write_text(LINES[0])
    write(CLEAN[:0], tmp_path / "bank.parquet")
    for form in ("csv", "parquet"):
        summary = score(scorer, tmp_path / f"bank.{form}", tmp_path / f"scores.{form}")
        assert (summary["rows"], len(read(tmp_path / f"scores.{form}"))) == (0, 0)
        assert read_rejects(tmp_path / f"scores.{form}.rejects") == []


def test_too_many_rejects_stop_the_job_and_a_higher_limit_resumes_it(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    source = write(customers, tmp_path / "customers.csv")
    score(scorer, source, tmp_path / "whole.csv")
    output = tmp_path / "scores.csv"
    for limit, told in ((RejectLimit(5), "6 of 600 .* allowed: 5"), (RejectLimit(0.5, is_share=True), "allowed: 0.5%")):
        with pytest.raises(TooManyRejectsError, match=told):
            score(scorer, source, output, max_rejects=limit, resume=True)
        assert not output.exists()
    score(scorer, source, output, max_rejects=RejectLimit(1, is_share=True), resume=True)
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {
        source.name,
        *(f"{name}.csv{ending}" for name in ("whole", "scores") for ending in ("", ".rejects")),
    }


# --- Summary, pipes --------------------------------------------------------------------------------------------------


def test_the_summary_has_hashes_distribution_and_drift(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    source = write(customers, tmp_path / "customers.csv")
    summary = score(scorer, source, tmp_path / "scores.csv", summary=tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    assert summary["inputs"] == [
        {"name": str(source), "bytes": source.stat().st_size, "sha256": hashes["customers.csv"]}
    ]
    assert summary["output_sha256"] == hashes["scores.csv"]
    assert summary["rejects_sha256"] == hashes["scores.csv.rejects"]
    assert sum(summary["scores"].values()) == summary["scored"] == 594
    assert set(summary["drift"]) == {*scorer.schema.names, "score"}
    assert summary["reasons"]["Geography is an unknown category"] == 2


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> io.BytesIO:
    """Put bytes into standard input, and return what standard output will hold."""
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output))
    return output


@pytest.mark.parametrize("form", FORMS)
def test_pipes_give_what_files_give(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, capsys: Any
) -> None:
    given = form if form in ("csv", "csv.gz", "csv.zst", "arrows") else "csv"
    source = write(customers, tmp_path / f"customers.{given}")
    score(scorer, source, tmp_path / f"scores.{form}")
    output = pipe(monkeypatch, source.read_bytes())
    job = FileJob("-", "-", input_format=given, output_format=form, summary=tmp_path / "s.json")
    summary = score_pipe(scorer, job)
    assert output.getvalue() == (tmp_path / f"scores.{form}").read_bytes()
    assert capsys.readouterr().err == (tmp_path / f"scores.{form}.rejects").read_text()
    assert summary["output_sha256"] == hashlib.sha256(output.getvalue()).hexdigest()
    assert summary["inputs"][0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (summary["rows"], summary["rejected"]) == (600, 6)
    pipe(monkeypatch, source.read_bytes())
    score_pipe(scorer, FileJob("-", "-", str(tmp_path / "r.csv"), input_format=given))
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / f"scores.{form}.rejects").read_bytes()


def test_standard_input_may_go_into_a_file(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, customers.to_csv(index=False).encode())
    score(scorer, "-", tmp_path / "scores.csv", summary=tmp_path / "s.json")
    assert read(tmp_path / "scores.csv").to_pylist() == expect(scorer, customers)[0]
    for job, message in (
        (FileJob("-", "-", resume=True), "--resume is not possible with standard output"),
        (FileJob("-", "-", input_format="parquet"), "parquet can't be read from standard input; allowed: csv"),
        (FileJob("-", "-", str(tmp_path / "s.json")), r"s\.json: the file exists"),
    ):
        pipe(monkeypatch, customers.to_csv(index=False).encode())
        with pytest.raises(TableError, match=message):
            score_pipe(scorer, job)
    with pytest.raises(TableError, match="which can't be read again"):
        score(scorer, "-", tmp_path / "x.csv", resume=True)


# --- Refused ---------------------------------------------------------------------------------------------------------


def change(text: str, old: str, new: str) -> bytes:
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (b"", {}, "bank.csv: can't be read: it is empty"),
        (b'"a,b\n1,2\n', {}, "the header has a quote that does not close"),
        ("a,b\n".encode("utf-16"), {}, r"columns are missing: .*; found: a, b \(line 1, read with the separator"),
        ("a,b\n".encode("utf-16-le"), {}, "it is UTF-16 without a byte-order mark"),
        (b"CustomerId:Age\n1:2\n", {}, r"found: CustomerId:Age .*tried: comma, semicolon, tab, pipe\)"),
        (
            b"a\xe9\n1\n",
            {},
            r"the header is not UTF-8: byte 1\. The file .* iconv -f WINDOWS-1252 -t UTF-8 .*bank.csv > .*-utf8.csv$",
        ),
        (change(LINES[0], "Age", "Years"), {}, "columns are missing: Age; found: RowNumber, CustomerId"),
        (change(LINES[0], "Tenure", " Age"), {}, "columns are missing: Tenure"),
        (change(LINES[0], "Surname", "Age"), {}, "columns occur twice: Age"),
        (
            LINES[0].encode(),
            {"keep": ("customerid",)},
            "--keep customerid: the output identifies customers by a column",
        ),
        (LINES[0].encode(), {"keep": ("shoe",)}, "columns are missing: shoe"),
        (LINES[0].encode(), {"input_format": "parquet"}, "bank.csv: can't be read: "),
        (LINES[0].encode(), {"input_format": "csv.gz"}, "bank.csv: can't be read: "),
        (LINES[0].encode(), {"output": "scores.json"}, "scores.json: unknown file format; allowed: .csv"),
        (LINES[0].encode(), {"output": "no/scores.csv"}, "the folder .*/no does not exist"),
        (LINES[0].encode(), {"output": "./bank.csv", "if_exists": "replace"}, "would overwrite the input"),
        (LINES[0].encode(), {"output": "old.csv"}, "old.csv: the file exists; use --if-exists replace"),
        (LINES[0].encode(), {"output": "folder.csv", "if_exists": "replace"}, "a folder with this name exists"),
        (LINES[0].encode(), {"source": "no.csv"}, "no.csv: no such file"),
        (LINES[0].encode(), {"source": "*.pq"}, "no file matches"),
        (LINES[0].encode(), {"source": "folder.csv"}, "the folder contains no files"),
        (LINES[0].encode(), {"source": "*.[a-z]*"}, "old.csv: lacks columns that the first file has: CustomerId"),
    ],
)
def test_what_can_not_be_scored_is_refused_and_leaves_nothing(
    scorer: Scorer, tmp_path: Path, data: bytes, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "bank.csv").write_bytes(data)
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    options = dict(options)
    source, output = (
        f"{tmp_path}/{options.pop(key, name)}" for key, name in (("source", "bank.csv"), ("output", "s.csv"))
    )
    with pytest.raises(TableError, match=message) as error:
        score(scorer, source, output, **options)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.csv").read_text() == "old"


def test_files_that_do_not_fit_together_are_refused(scorer: Scorer, tmp_path: Path) -> None:
    write(CLEAN, tmp_path / "a.parquet")
    (tmp_path / "a.csv").touch()
    with pytest.raises(TableError, match="the files have different formats: csv, parquet; select files of one format"):
        score(scorer, tmp_path, tmp_path / "scores.csv")
    for table, message in (
        (CLEAN.drop(columns="Age"), "b.parquet: columns are missing: Age"),
        (CLEAN.drop(columns="CustomerId"), "b.parquet: lacks columns that the first file has: CustomerId"),
        (CLEAN.assign(Surname=1), "b.parquet: Surname is int64 here and large_string in the first file"),
    ):
        write(table, tmp_path / "b.parquet")
        with pytest.raises(TableError, match=message):
            score(scorer, f"{tmp_path}/?.parquet", tmp_path / "scores.csv", keep=("Surname",))


def test_a_file_that_is_cut_off_or_changes_is_told_and_nothing_is_published(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = write(customers, tmp_path / "customers.csv.gz")
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(TableError, match=r"customers\.csv\.gz: can't be read"):
        score(scorer, packed, tmp_path / "scores.csv")
    source = write(customers, tmp_path / "customers.csv")
    monkeypatch.setattr(locations.InputFile, "is_unchanged", False)
    with pytest.raises(TableError, match=r"customers\.csv: the file changed while it was read"):
        score(scorer, source, tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()
    assert not (tmp_path / "scores.csv.rejects").exists()
