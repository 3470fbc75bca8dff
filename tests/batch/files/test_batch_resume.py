"""Jobs on files killed and resumed: the same bytes as of a job that ran through."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from file_jobs import draw_dirty, score, write
from processes import start_python, wait_for_line

from batch.files import job, run, sink, source_arrow
from batch.files.journal import JobFolder
from churn.errors import TableError
from churn.tables import csv_file

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

PAIRS = (("csv", "csv"), ("csv.gz", "csv.gz"), ("parquet", "parquet"), ("arrow", "arrow"), ("arrows", "csv.zst"))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small tables be cut into many blocks and groups, and every one be noted."""
    monkeypatch.setattr(csv_file, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(source_arrow, "BATCH_ROWS", 100)
    monkeypatch.setattr(sink, "GROUP_ROWS", 150)
    monkeypatch.setattr(run, "COMMIT_SECONDS", 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two files of customers, in every form."""
    folder = tmp_path / "in"
    folder.mkdir()
    table = draw_dirty()
    for form in {form for form, _ in PAIRS}:
        write(table[:350], folder / f"a.{form}")
        write(table[350:], folder / f"b.{form}")
    return folder


class KilledError(Exception):
    pass


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Let a function fail when it is called for that time, counted from 0."""
    whole, calls = getattr(owner, name), iter(range(1000))

    def fail(*arguments: Any, **named: Any) -> Any:
        if next(calls) == call:
            raise KilledError
        return whole(*arguments, **named)

    monkeypatch.setattr(owner, name, fail)


def results(folder: Path, name: str) -> list[bytes]:
    return [(folder / f"{name}{ending}").read_bytes() for ending in ("", ".rejects")]


@pytest.mark.parametrize(("given", "form"), PAIRS)
def test_a_job_that_fails_anywhere_is_resumed_to_the_same_bytes(
    scorer: Scorer, source: Path, tmp_path: Path, given: str, form: str
) -> None:
    whole = score(scorer, f"{source}/*.{given}", tmp_path / f"whole.{form}", keep=("Surname",))
    output = tmp_path / f"scores.{form}"
    resumed = set()
    # Before a block is written, between scores and rejects, in a commit, in the end; then between the files' names.
    for owner, name in (
        (run.FileRun, "_take"),
        (sink.AppendedFile, "append"),
        (sink.AppendedFile, "sync"),
        (JobFolder, "write"),
        (run, "count_rows"),
        (job, "publish"),
    ):
        for call in (0, 3):
            with pytest.MonkeyPatch.context() as patch:
                kill_at(patch, owner, name, call)
                try:
                    score(scorer, f"{source}/*.{given}", output, keep=("Surname",))
                except KilledError:
                    assert not output.exists()
            if output.exists():  # it is not called so often
                output.with_name(output.name + ".rejects").unlink()
                output.unlink()
                continue
            summary = score(scorer, f"{source}/*.{given}", output, keep=("Surname",), resume=True)
            resumed.add(summary["resumed_at_row"])
            assert results(tmp_path, f"scores.{form}") == results(tmp_path, f"whole.{form}"), (name, call)
            for key in ("rows", "scored", "leavers", "reasons", "scores", "drift"):
                assert summary[key] == whole[key]
            for ending in ("", ".rejects"):
                output.with_name(output.name + ending).unlink()
    assert len(resumed) > 3
    assert {path.name for path in tmp_path.iterdir()} == {"in", f"whole.{form}", f"whole.{form}.rejects"}


def test_a_job_resumed_several_times_says_how_long_it_took_in_all(scorer: Scorer, source: Path, tmp_path: Path) -> None:
    for call in (1, 1):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, run.FileRun, "_take", call)
            with pytest.raises(KilledError):
                score(scorer, source / "a.csv", tmp_path / "scores.csv", resume=True)
    summary = score(scorer, source / "a.csv", tmp_path / "scores.csv", resume=True)
    assert summary["resumed_at_row"] > 150
    assert summary["seconds_in_all"] > summary["seconds"]


def begin(scorer: Scorer, source: Path, output: Path, **chosen: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, run.FileRun, "_take", 2)
        with pytest.raises(KilledError):
            score(scorer, source, output, **chosen)


def test_another_job_is_not_resumed(scorer: Scorer, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    begin(scorer, source / "a.csv", output)
    with pytest.raises(TableError, match=r"can't be resumed: keep was \[\] and is \['Surname'\]"):
        score(scorer, source / "a.csv", output, resume=True, keep=("Surname",))
    with pytest.raises(TableError, match="can't be resumed: rejects was "):
        score(scorer, source / "a.csv", output, resume=True, rejects=str(tmp_path / "r.csv"))
    os.utime(source / "a.csv")
    with pytest.raises(TableError, match=r"can't be resumed: files was \['.*a\.csv', \d+, \d+\] and is \["):
        score(scorer, source / "a.csv", output, resume=True)
    with (
        pytest.raises(TableError, match="another job is writing the same output"),
        JobFolder(tmp_path / ".scores.csv.partial"),
    ):
        score(scorer, source / "a.csv", output, resume=True)
    score(scorer, source / "a.csv", output)  # without --resume it begins anew
    assert score(scorer, source / "a.csv", tmp_path / "b.csv", resume=True)["resumed_at_row"] == 0
    assert results(tmp_path, "scores.csv") == results(tmp_path, "b.csv")


def test_an_old_result_stays_until_the_new_one_is_whole(scorer: Scorer, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    output.write_text("old")
    with pytest.raises(TableError, match="the file exists"):
        score(scorer, source / "a.csv", output)
    begin(scorer, source / "a.csv", output, if_exists="replace")
    assert output.read_text() == "old"
    with pytest.raises(TableError, match="the file exists"):
        score(scorer, source / "a.csv", output, resume=True)
    score(scorer, source / "a.csv", output, if_exists="replace", resume=True)
    assert output.read_text() != "old"


def test_unfinished_work_may_lie_elsewhere(scorer: Scorer, source: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    begin(scorer, source / "a.csv", tmp_path / "scores.csv", work=tmp_path / "work")
    assert [path.name for path in tmp_path.glob("*scores*")] == []
    assert (tmp_path / "work" / ".scores.csv.partial" / "journal.json").exists()
    score(scorer, source / "a.csv", tmp_path / "scores.csv", work=tmp_path / "work", resume=True)
    assert not list((tmp_path / "work").iterdir())


def test_files_that_do_not_hold_what_was_counted_are_not_published(
    scorer: Scorer, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "count_rejected", lambda _: 3)
    with pytest.raises(TableError, match=r"345 rows were scored and 5 rejected, but the files have 345 and 3"):
        score(scorer, source / "a.csv", tmp_path / "scores.csv")
    assert not list(tmp_path.glob("scores*"))


# --- Real processes --------------------------------------------------------------------------------------------------

HALTING = """
import sys, time
from batch.files import run
from churn.tables import csv_file
csv_file.BLOCK_BYTES, run.COMMIT_SECONDS = 10_000, 0
rows = int(sys.argv.pop(1))
take = run.FileRun._take
def halt(run, scored):
    if run._tally.rows >= rows:
        print("halted", flush=True)
        while True:  # a signal just before a long sleep would not end it
            time.sleep(0.1)
    take(run, scored)
run.FileRun._take = halt
from cli.main import main
main()
"""


def start_and_wait_until(rows: int, models: Path, source: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    """Start the command; return when it has noted so many rows and stands still."""
    arguments = ("score", source, "--output", output, "--models", models, "--engine", "onnx", *more)
    process = start_python("-c", HALTING, rows, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for_line(process, "halted")
    journal = output.with_name(f".{output.name}.partial") / "journal.json"
    assert json.loads(journal.read_text())["counts"]["rows"] >= rows
    return process


@pytest.mark.slow
def test_a_killed_and_an_interrupted_process_are_resumed_to_the_same_bytes(
    models: Path, scorer: Scorer, tmp_path: Path
) -> None:
    source = write(draw_dirty(1500), tmp_path / "customers.csv")
    whole = score(scorer, source, tmp_path / "whole.csv")
    output = tmp_path / "scores.csv"
    for number, (sent, rows) in enumerate(((signal.SIGKILL, 1), (signal.SIGINT, 700))):
        process = start_and_wait_until(rows, models, source, output, *(["--resume"] if number else []))
        process.send_signal(sent)
        _, told = process.communicate()
        assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL), told
        if sent == signal.SIGINT:
            assert told.strip().endswith("interrupted: run the same command with --resume to continue")
        assert not output.exists()
    summary = score(scorer, source, output, resume=True)
    assert summary["resumed_at_row"] >= 700
    assert results(tmp_path, "scores.csv") == results(tmp_path, "whole.csv")
    assert summary["reasons"] == whole["reasons"]
