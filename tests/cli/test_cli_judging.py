"""`churn records judge` and `churn records report` as a person uses them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from record_samples import make_decision, write

from cli.recorded import Recorded, mask
from records import times
from records.judging.judgements import read_judgement
from records.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path, churn: Any) -> str:
    """A store with a judged month and a young one."""
    found = f"sqlite:///{tmp_path / 'records.db'}"
    now = datetime.now(UTC)
    rows = []
    decisions = []
    for number in range(400):
        day = now - timedelta(days=100 if number < 300 else 1)
        decisions.append(make_decision(number, time=times.from_datetime(day), customer_id=str(number)))
        if number < 300:
            rows.append(f"{number},{day + timedelta(days=30):%Y-%m-%d},{int(number % 7 < 3 * decisions[-1].churn + 1)}")
    write(open_store(found, create=True), decisions)
    table = tmp_path / "outcomes.csv"
    table.write_text("customer,date,left\n" + "\n".join(rows))
    assert churn("outcomes", "load", table, "--records", found).code == 0
    return found


def test_decisions_are_judged_printed_and_stored(churn: Any, url: str, models: Path, tmp_path: Path) -> None:
    told = tmp_path / "judged.json"
    answer = churn("records", "judge", "--url", url, "--horizon", "30d", "--models", models, "--json", told)
    assert (answer.code, answer.err) == (0, "")
    assert "300 customers, 300 judged, 0 whose horizon is not over, 0 whose outcome is unknown" in answer.out
    assert "100 customers, 0 judged, 100 whose horizon is not over" in answer.out
    assert "expected: The probabilities are calibrated for these customers" in answer.out
    judgement = json.loads(told.read_text())
    assert read_judgement(open_store(url)) == (1, judgement)
    auc = judgement["total"]["measures"]["roc_auc"]
    assert f"{auc['value']:.4f} ({auc['low']:.4f} to {auc['high']:.4f})" in answer.out
    assert {"1"} == judgement["training"].keys() == judgement["versions"].keys()


@pytest.mark.usefixtures("quick", "without_pictures")
def test_the_horizon_of_the_training_is_that_of_the_judgement(
    churn: Any, url: str, own_models: Path, bank_csv: Path, tmp_path: Path
) -> None:
    told = tmp_path / "judged.json"
    trained = churn("train", bank_csv, "--models", own_models, "--horizon", "4w")
    assert trained.code == 0, trained.err
    answer = churn("records", "judge", "--url", url, "--models", own_models, "--json", told)
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(told.read_text())["horizon_days"] == 28
    answer = churn("records", "judge", "--url", url, "--models", own_models, "--json", told, "--horizon", "30d")
    said = "version 2 was trained on customers who left within 28 days; the horizon here is 30\n"
    assert (answer.code, answer.err) == (0, said)
    assert json.loads(told.read_text())["horizon_days"] == 30
    assert churn("models", "promote", 1, "--models", own_models).code == 0  # its manifest names none
    answer = churn("records", "judge", "--url", url, "--models", own_models, "--json", told)
    assert (answer.code, answer.err) == (0, said.replace("is 30", "is 90"))
    assert json.loads(told.read_text())["horizon_days"] == 90


def test_the_report_is_written_without_models_too(churn: Any, url: str, tmp_path: Path) -> None:
    output = tmp_path / "judged.html"
    answer = churn("records", "report", "--url", url, "--horizon", "4w", "--models", tmp_path, "--output", output)
    assert answer.code == 0
    assert "There are no groups" in output.read_text()
    assert answer.out.endswith(f"wrote the report to {output}\n")


def test_a_horizon_that_is_none_is_refused(churn: Any, url: str) -> None:
    answer = churn("records", "judge", "--url", url, "--horizon", "three months")
    assert answer.code == 1
    assert "the horizon is 'three months'; allowed: 1d to 3650d" in answer.err


def test_two_versions_are_compared_on_the_same_customers(
    churn: Any, url: str, two_models: Path, bank_csv: Path, tmp_path: Path
) -> None:
    header, *rows = [line.split(",") for line in bank_csv.read_text().splitlines()]
    store, day = open_store(url), datetime.now(UTC) - timedelta(days=90)
    sent = [dict(zip(header, row, strict=True)) for row in rows]
    write(store, [make_decision(number, time=times.from_datetime(day), customer_id=f"x{number}", model_version="2",
                                probability=0.2, churn=False, input=json.dumps(one), read_as="texts=parse")
                  for number, one in enumerate(sent)])  # fmt: skip
    table = tmp_path / "more.csv"
    lines = [f"x{number},{day + timedelta(days=20 * (one['Exited'] == '0') + 10):%Y-%m-%d},{one['Exited']}"
             for number, one in enumerate(sent)]  # fmt: skip
    table.write_text("customer,date,left\n" + "\n".join(lines))
    assert churn("outcomes", "load", table, "--records", url).code == 0
    options = ("--url", url, "--horizon", "30d", "--models", two_models)
    refused = churn("records", "compare", *options, "--challenger", 1)
    assert refused.code == 1
    assert "--include-known" in refused.err
    told = tmp_path / "compared.json"
    answer = churn("records", "compare", *options, "--challenger", 1, "--include-known", "--json", told)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(told.read_text())
    assert (found["champion"], found["challenger"], found["customers"]) == ("2", "1", len(rows))
    assert found["verdict"] == "promote"
    assert answer.out.splitlines()[-1] == f"promote: {found['reason']}"
    assert f"{len(rows):,} customers; left out:" in answer.out
    assert churn("records", "compare", *options, "--challenger", 2).code == 2


@pytest.mark.usefixtures("quick", "without_pictures")
def test_a_version_is_trained_on_recorded_customers(
    churn: Any, own_models: Path, bank_csv: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    header, *rows = [line.split(",") for line in bank_csv.read_text().splitlines()]
    sent = [dict(zip(header, row, strict=True)) for row in rows]
    write(open_store(url, create=True), [
        make_decision(number, customer_id=str(number), input=json.dumps(one), read_as="texts=parse")
        for number, one in enumerate(sent)
    ])  # fmt: skip
    table = tmp_path / "outcomes.csv"
    days = {"1": "2026-03-20,1", "0": "2026-06-20,0"}
    table.write_text("customer,date,left\n" + "\n".join(f"{n},{days[one['Exited']]}" for n, one in enumerate(sent)))
    assert churn("outcomes", "load", table, "--records", url).code == 0
    answer = churn("train", "--from-records", url, "--models", own_models, "--drop", "Tenure")
    assert answer.code == 0, answer.err
    assert "Built from records of 2026-03 to 2026-03, each customer once, with outcomes within 90 days" in answer.out
    manifest = json.loads((own_models / "2" / "manifest.json").read_text())
    assert manifest["data"]["rows_used"] == len(rows)
    assert manifest["data"]["positive_share"] == pytest.approx(sum(one["Exited"] == "1" for one in sent) / len(rows))
    assert "Tenure" not in manifest["schema"]["features"]
    assert manifest["settings"]["horizon_days"] == 90
    assert manifest["command"].startswith(f"churn train --from-records {url}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "DATA is missing: a table, or --from-records"),
        (("a.csv", "--from-records", "sqlite:///a.db"), "exclude each other"),
        (("a.csv", "--months", "9"), "--months needs --from-records"),
        (("--from-records", "sqlite:///a.db", "--label", "left", "--in-memory"), "reads no table; remove: --label"),
        (("--from-records", "sqlite:///a.db", "--write-schema", "a.toml"), "remove: --write-schema"),
    ],
)
def test_options_that_contradict_each_other_are_refused(churn: Any, arguments: tuple[str, ...], message: str) -> None:
    answer = churn("train", *arguments)
    assert answer.code == 2
    assert message in answer.err


def test_a_password_is_not_part_of_the_command_line_in_the_manifest() -> None:
    recorded = Recorded("postgresql://bank:secret@host/db", 90, 12)
    for arguments in (["--from-records", recorded.url], [f"--from-records={recorded.url}"]):
        assert "secret" not in " ".join(mask(["train", *arguments], recorded))
