"""`churn records`: what its commands say, and their exit codes."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from record_samples import MARCH, make_decision

from churn.columns import as_customers
from churn.scorer import load_scorer
from cli.main import churn
from records.find import find
from records.journal import append_entry
from records.ledger import Ledger
from records.store import RecordStore, open_store
from records.tables import RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import Dataset


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def store(url: str) -> RecordStore:
    store = open_store(url, create=True)
    ledger = Ledger(store)
    reasons = json.dumps([{"field": "Age", "points": 0.1, "sentence": "Age (20): raises it"}])
    ledger.append([make_decision(number, customer_id=str(number % 3), reasons=reasons) for number in range(90)])
    ledger.close()
    return store


def call(url: str, *arguments: Any, code: int = 0) -> str:
    done = CliRunner().invoke(churn, ["records", *map(str, arguments)], env={"CHURN_RECORDS": url})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert code, done.exception
        return f"{done.output}{done.exception}"
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.usefixtures("store")
def test_show_says_what_was_said_by_what_and_why(url: str) -> None:
    shown = call(url, "show", "--customer", 2, "--limit", 1)
    assert "2026-03-01T01:29:00.000000Z  request request-89  key crm" in shown
    assert "customer 2: " in shown
    assert "by model 1 (onnxruntime, manifest abababababababab…)" in shown
    assert 'from {"CustomerId": 15000089, "Age": 49}' in shown
    assert "because: Age (20): raises it" in shown
    assert "there are more than 1" in shown
    lines = call(url, "show", "--request", "request-4", "--json").splitlines()
    assert [json.loads(line)["input"] for line in lines] == [{"CustomerId": 15000004, "Age": 24}]
    assert "no records" in call(url, "show", "--customer", "nobody")
    assert "give --customer or --request" in call(url, "show", code=2)
    since = call(url, "show", "--customer", 2, "--since", "2026-03-01T01:28", "--json").splitlines()
    assert len(since) == 1
    assert "is not a time; allowed: 2026-03-01" in call(url, "show", "--customer", 2, "--since", "yesterday", code=2)


def test_verify_names_what_was_changed(store: RecordStore, url: str, tmp_path: Path) -> None:
    assert "90 records of 1 writers, 0 of them erased; 2 seals" in call(url, "verify")
    kept = tmp_path / "seals.jsonl"
    kept.write_text(call(url, "seals"))
    assert len(kept.read_text().splitlines()) == 2
    call(url, "verify", "--seals", kept)
    with store.writing() as connection:
        connection.execute(sa.update(RECORDS).where(RECORDS.c.sequence == 7).values(probability=0.9))
    told = call(url, "verify", code=1)
    assert "writer 1, record 7 (2026-03-01T00:06:00.000000Z, request request-6): was changed" in told
    assert "1 faults" in told
    kept.write_text(kept.read_text().replace('"number": 2', '"number": 3'))
    assert "writer 1, seal 3: is missing" in call(url, "verify", "--seals", kept, code=1)
    kept.write_text("{}")
    assert "line 1: is not a seal" in call(url, "verify", "--seals", kept, code=1)


@pytest.mark.usefixtures("store")
def test_prune_and_erase_leave_a_store_that_verifies(url: str) -> None:
    assert "30 records erased" in call(url, "erase", "--customer", 1)
    assert "60 records before 2026-03-01T01:00:00" in call(url, "prune", "--older-than", "2026-03-01T01:00")
    assert "30 records of 1 writers, 10 of them erased; 2 seals" in call(url, "verify")
    assert "0 records" in call(url, "prune", "--older-than", "200y")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_export_writes_all_columns(store: RecordStore, url: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"records.{kind}"
    assert "30 records" in call(url, "export", path, "--since", "2026-03-01T01:00")
    rows: list[Any] = (
        pq.read_table(path).to_pylist() if kind == "parquet" else list(csv.DictReader(path.read_text().splitlines()))
    )
    assert len(rows) == 30
    expected = find(store, request="request-60").records[0]
    assert (rows[0]["request_id"], rows[0]["customer_id"], rows[0]["input"]) == ("request-60", "0", expected.input)
    assert float(rows[0]["probability"]) == expected.probability
    assert rows[0]["hash"] == expected.hash.hex()
    assert "allowed: .csv and .parquet" in call(url, "export", tmp_path / "records.xls", code=1)
    assert [each.name for each in tmp_path.iterdir() if "unfinished" in each.name] == []


def test_jobs_are_listed(store: RecordStore, url: str) -> None:
    with store.writing() as connection:
        append_entry(connection, "job", {"rows": 7})
    assert json.loads(call(url, "jobs"))["rows"] == 7


def test_a_store_that_is_missing_is_one_message(tmp_path: Path) -> None:
    assert "the SQLite file does not exist" in call(f"sqlite:///{tmp_path / 'no.db'}", "verify", code=1)


def test_replay_compares_every_decimal(models: Path, dataset: Dataset, url: str) -> None:
    scorer = load_scorer(models / "1", "onnx")
    raw = dataset.raw[:50]
    manifest = str(scorer.manifest.content["manifest_sha256"])
    decisions = [
        make_decision(
            number,
            input=json.dumps(customer),
            probability=probability,
            churn=probability > scorer.threshold,
            threshold=scorer.threshold,
            manifest_sha256=manifest,
        )
        for number, (customer, probability) in enumerate(
            zip(as_customers(scorer.schema, raw), scorer.score_raw(raw).tolist(), strict=True)
        )
    ]
    texts = {name: "" if cell is None else str(cell) for name, cell in json.loads(decisions[0].input).items()}
    texts["EstimatedSalary"] = texts["EstimatedSalary"].replace(".", ",")
    read_as = "texts=parse&comma=EstimatedSalary"
    decisions.append(decisions[0]._replace(input=json.dumps(texts), read_as=read_as, request_id="texts"))
    store = open_store(url, create=True)
    ledger = Ledger(store)
    ledger.append(decisions)
    assert "51 replayed, 0 different" in call(url, "replay", "--models", models, "--engine", "onnx")
    close = decisions[3]._replace(probability=round(decisions[3].probability + 1e-6, 6), request_id="close")
    other = decisions[4]._replace(manifest_sha256="00" * 32)
    gone = decisions[4]._replace(model_version="99", manifest_sha256="11" * 32)
    wrong = decisions[4]._replace(input="{}")
    ledger.append([close, other, gone, wrong, decisions[5]._replace(customer_id="erased")])
    ledger.close()
    call(url, "erase", "--customer", "erased")
    told = call(url, "replay", "--models", models, "--engine", "onnx", code=1)
    assert "52 replayed, 1 different" in told
    assert f"request close, customer {close.customer_id}: recorded {close.probability:.6f}, replayed" in told
    assert "1 not replayed: version 1 in" in told
    assert "1 not replayed: version 99 is not in" in told
    assert "1 not replayed: the input can't be read" in told
    assert "1 not replayed: the input was erased" in told
    assert "1 replayed, 0 different" in call(
        url, "replay", "--models", models, "--engine", "onnx", "--request", "texts"
    )
    assert find(store, request="texts").records[0].time == MARCH
