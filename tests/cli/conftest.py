from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from record_samples import make_decision, write
from tampering import forge_manifest

from churn.registry import Registry
from cli.main import main
from records.jobs import record_job
from records.judging.outcome_file import read_outcomes
from records.judging.outcomes import load_outcomes
from records.listing import list_jobs
from records.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Churn = Callable[..., Answer]


@pytest.fixture
def churn(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Churn:
    """Run the command `churn` with some arguments, as the console script does."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["churn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Answer(ended.value.code or 0, out, err)

    return run


@pytest.fixture
def two_models(own_models: Path) -> Path:
    """Two versions, the second one current."""

    def write(folder: Path, version: int) -> None:
        shutil.copytree(own_models / "1", folder, dirs_exist_ok=True)
        forge_manifest(folder, lambda content: content.update(version=version))

    Registry(own_models).publish(write)
    return own_models


@pytest.fixture
def command_lines(bank_csv: Path, tmp_path: Path) -> Callable[[Path], dict[str, list[tuple[object, ...]]]]:
    """Return, for a folder of models, arguments of every command but `churn serve`, each of which succeeds.

    A new command (`every_command.COMMANDS`) must be added here.
    """

    def describe(models: Path) -> dict[str, list[tuple[object, ...]]]:
        source, key, keys = tmp_path / "bank.db", tmp_path / "key.pem", tmp_path / "keys.json"
        with sqlite3.connect(source) as database:
            header, *rows = [line.split(",") for line in bank_csv.read_text().splitlines()]
            database.execute("DROP TABLE IF EXISTS customers")
            database.execute(f"CREATE TABLE customers ({', '.join(header)})")
            marks = ", ".join("?" * len(header))
            database.executemany(f"INSERT INTO customers VALUES ({marks})", rows)
        database.close()
        score = ("score", bank_csv, "--models", models, "--if-exists", "replace", "--output", tmp_path / "scores.csv")
        train = ("train", bank_csv, "--models", models, "--no-promote")
        sql = ("score", "--models", models, "--sql", "SELECT * FROM customers", "--url", f"sqlite:///{source}",
               "--table", "scores", "--if-exists", "replace")  # fmt: skip
        create = ("keys", "create", "--name", "crm", "--scope", "predict", "--if-absent", "--file", keys)
        outcomes, url = tmp_path / "outcomes.csv", f"sqlite:///{tmp_path / 'records.db'}"
        outcomes.write_text("customer,date,left\n1,2026-07-01,0\n2,2026-03-05,1\n")
        if not (tmp_path / "records.db").exists():
            sent = [json.dumps(dict(zip(header, row, strict=True))) for row in rows[:2]]
            decisions = [
                make_decision(number, customer_id=str(number), input=one, read_as="texts=parse")
                for number, one in enumerate(sent, 1)
            ]
            store = open_store(url, create=True)
            write(store, [one._replace(model_version="9") for one in decisions])
            load_outcomes(store, read_outcomes(outcomes))
            digest = hashlib.sha256(bank_csv.read_bytes()).hexdigest()
            record_job(store, "files", {"output": str(bank_csv), "output_sha256": digest})
        job = list_jobs(open_store(url))[0]["entry"]
        records, judged = ("--records", url), ("--url", url, "--models", models)
        return {
            "churn evaluate": [("evaluate", bank_csv, "--models", models, "--report", tmp_path / "report.html")],
            "churn keys create": [create],
            "churn keys list": [create, ("keys", "list", "--file", keys)],
            "churn keys revoke": [create, ("keys", "revoke", "crm", "--file", keys)],
            "churn models keygen": [("models", "keygen", key)],
            "churn models list": [("models", "list", "--models", models)],
            "churn models promote": [("models", "promote", 1, "--models", models)],
            "churn models rollback": [("models", "rollback", "--models", models)],
            "churn models show": [("models", "show", "--models", models)],
            "churn models sign": [("models", "sign", "--models", models, "--key", key)],
            "churn models verify": [("models", "verify", "--models", models)],
            "churn outcomes load": [("outcomes", "load", outcomes, *records)],
            "churn outcomes show": [("outcomes", "show", "--customer", 1, *records)],
            "churn records check-job": [("records", "check-job", job, "--url", url)],
            "churn records compare": [
                ("records", "compare", *judged, "--challenger", 1, "--champion", 9, "--include-known"),
            ],
            "churn records erase": [("records", "erase", "--customer", 99, "--url", url)],
            "churn records export": [("records", "export", tmp_path / "records.parquet", "--url", url)],
            "churn records jobs": [("records", "jobs", "--url", url)],
            "churn records judge": [("records", "judge", *judged)],
            "churn records prune": [("records", "prune", "--older-than", "20y", "--url", url)],
            "churn records replay": [("records", "replay", *judged)],
            "churn records report": [("records", "report", *judged, "--output", tmp_path / "judged.html")],
            "churn records seals": [("records", "seals", "--url", url)],
            "churn records show": [("records", "show", "--customer", 1, "--url", url)],
            "churn records verify": [("records", "verify", "--url", url)],
            "churn score": [score, (*score, "--engine", "tensorflow"), sql],
            "churn simulate": [("simulate", tmp_path / "simulated.csv", "--rows", 100)],
            "churn train": [train, (*train, "--warm-start", 1)],
            "churn tune": [("tune", bank_csv, "--output", tmp_path / "tuned.toml", "--trials", 1)],
        }

    return describe
