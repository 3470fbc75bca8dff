"""A canary scores rows of tables, chosen by their identifiers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pytest
from bundles import BANK, CUSTOMER, ODD, publish
from canaries import SHARE, count_by_version, make_models, name_version, named, start_with_canary
from running import read_metrics, start
from table_requests import ARROW, CSV, post, read_arrow, read_csv, to_arrow, to_csv
from waiting import wait_until

from churn.registry import Registry
from churn.schema import Schema
from churn.share import is_chosen
from records.find import find
from records.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.testclient import TestClient

NAMES = range(60)


def send(client: TestClient, form: str, customers: Sequence[dict[str, Any]], query: str = "") -> list[dict[str, Any]]:
    """Return the rows of the answer to a table, with numbers and decisions as JSON has them."""
    if form == "arrow":
        return read_arrow(post(client, to_arrow(customers), ARROW, query).content)
    answer = post(client, to_csv(customers), CSV, query)
    assert answer.status_code == 200, answer.text
    return [
        row | {"probability": float(row["probability"] or "nan"), "churn": {"true": True, "false": False}[row["churn"]]}
        if row["probability"]
        else row
        for row in read_csv(answer.content)
    ]


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_each_row_is_scored_by_the_version_that_its_identifier_selects(tmp_path: Path, form: str) -> None:
    customers = [named(name) for name in NAMES]
    with start_with_canary(make_models(tmp_path)) as client:
        rows = send(client, form, customers)
        assert count_by_version(client) == {
            version: [name_version(name) for name in NAMES].count(version) for version in ("1", "2")
        }
        assert read_metrics(client)["churn_batch_size_sum"] == len(NAMES)
        assert read_metrics(client)["churn_score_count"] == len(NAMES)
        alone = [client.post("/predict", json=customer).json() for customer in customers]
    assert {row["model_version"] for row in rows} == {"1", "2"}
    for name, row, one in zip(NAMES, rows, alone, strict=True):
        assert row["model_version"] == one["model_version"] == name_version(name)
        assert (row["probability"], row["churn"]) == (one["probability"], one["churn"])
        assert int(row["CustomerId"]) == name


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_without_a_canary_and_without_identifiers_the_answer_is_the_same_as_ever(tmp_path: Path, form: str) -> None:
    models = make_models(tmp_path)
    anonymous = [named(None, Age=20 + number) for number in range(9)]
    kind = CSV if form == "csv" else ARROW
    body = (to_csv if form == "csv" else to_arrow)(anonymous)
    with start(models) as client:
        plain = post(client, body, kind).content
        known = send(client, form, [named(name) for name in NAMES])
        assert {row["model_version"] for row in known} == {"1"}
    with start_with_canary(models, 1.0) as client:
        assert post(client, body, kind).content == plain
        assert count_by_version(client) == {"1": 9, "2": 0}
        mixed = send(client, "csv", [named(1), named(1) | {"CustomerId": ""}])
        assert [row["model_version"] for row in mixed] == ["2", "1"]


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_rejected_rows_keep_their_place(tmp_path: Path, form: str) -> None:
    customers = [named(name) for name in NAMES]
    for name in (0, 7, 11, 30, 59):
        customers[name]["Age"] = -1
    with start_with_canary(make_models(tmp_path)) as client:
        if form == "csv":
            body = to_csv(customers).replace(b"\n2,", b"\nbroken\n2,")
            rows = read_csv(post(client, body, query="?on_error=reject").content)
            assert rows.pop(2)["error"].startswith("the row has 1 field")
        else:
            rows = read_arrow(post(client, to_arrow(customers), ARROW, "?on_error=reject").content)
    for name, row in zip(NAMES, rows, strict=True):
        rejected = customers[name]["Age"] == -1
        assert bool(row["error"]) == rejected
        assert row["model_version"] == ("1" if rejected else name_version(name))


def test_what_a_row_has_its_reasons_from_is_what_scored_it(tmp_path: Path) -> None:
    customers = [named(name) for name in range(12)]
    with start_with_canary(make_models(tmp_path, background=4)) as client:
        rows = read_arrow(post(client, to_arrow(customers), ARROW, "?reasons=2").content)
        plain = read_arrow(post(client, to_arrow(customers), ARROW).content)
        told = client.post("/predict?reasons=2", json={"customers": customers}).json()["predictions"]
    assert len({row["base"] for row in rows}) == 2
    for row, one, before in zip(rows, told, plain, strict=True):
        assert row.items() >= before.items()
        assert row["base"] == one["base"]
        for number, reason in enumerate(one["reasons"], 1):
            assert row[f"reason_{number}"] == reason["field"]
            assert row[f"reason_{number}_points"] == reason["points"]


def test_a_canary_with_other_reasons_has_columns_of_its_own(tmp_path: Path) -> None:
    publish(tmp_path, background=4)
    publish(tmp_path, background=4, support=True, threshold=0.0)
    Registry(tmp_path).promote(1)
    with start_with_canary(tmp_path) as client:
        rows = read_arrow(post(client, to_arrow([named(name) for name in range(12)]), ARROW, "?reasons=1").content)
    assert list(rows[0])[4:] == [
        "base", "reason_1", "reason_1_points", "reason_1_sentence",
        "support_share", "support_field", "support_low", "support_high", "support_sentence",
    ]  # fmt: skip
    for row in rows:
        assert (row["support_share"] is None) == (row["model_version"] == "1")


def test_records_name_the_version_that_scored_a_row(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    customers = [named(name) for name in NAMES]
    customers[11]["Age"] = -1
    with start_with_canary(make_models(tmp_path / "models", background=4), records=url) as client:
        store = open_store(url)
        post(client, to_csv(customers), CSV, "?on_error=reject")
        post(client, to_arrow(customers), ARROW, "?on_error=reject&reasons=1")
        told = client.post("/predict?reasons=1", json={"customers": customers[:11]}).json()["predictions"]
        wait_until(lambda: len(find(store, limit=1000).records) == 2 * 59 + 11)
        records = sorted(find(store, limit=1000).records, key=lambda record: record[:2])
    for first in (0, 59):
        block = records[first : first + 59]
        assert [record.customer_id for record in block] == [str(name) for name in NAMES if name != 11]
        for record in block:
            assert record.model_version == name_version(record.customer_id)
            assert record.threshold == (0.0 if record.model_version == "2" else 0.5)
            assert json.loads(str(record.input))["CustomerId"] in (int(record.customer_id or 0), record.customer_id)
    reasoned = {record.customer_id: json.loads(str(record.reasons)) for record in records[59 : 2 * 59]}
    for one in told:
        (reason,) = reasoned[str(one["CustomerId"])]
        assert reason["points"] == one["reasons"][0]["points"]


@pytest.mark.parametrize(
    ("identifiers", "texts"),
    [
        (pa.array([float(name) for name in NAMES]), list(map(str, NAMES))),
        (pa.array([str(name) for name in NAMES]).dictionary_encode(), list(map(str, NAMES))),
        (pa.array([str(name) for name in NAMES], pa.string_view()), list(map(str, NAMES))),
        (pa.array([UUID(int=name).bytes for name in NAMES], pa.binary(16)), [str(UUID(int=name)) for name in NAMES]),
        (pa.array([None if name % 2 else name for name in NAMES]), [None if n % 2 else str(n) for n in NAMES]),
    ],
)
def test_a_customer_is_the_same_whatever_the_type_of_the_column(
    tmp_path: Path, identifiers: pa.Array, texts: list[str | None]
) -> None:
    table = to_arrow([named(0)] * len(NAMES), CustomerId=identifiers)
    with start_with_canary(make_models(tmp_path)) as client:
        rows = read_arrow(post(client, table, ARROW).content)
    assert [row["model_version"] for row in rows] == [name_version(text) for text in texts]


def test_rows_that_the_canary_rejects_are_scored_by_the_served_version(tmp_path: Path) -> None:
    young = Schema(tuple(replace(f, maximum=45) if f.name == "Age" else f for f in BANK.features), label="Exited")
    with start_with_canary(make_models(tmp_path, young), 1.0) as client:
        rows = read_csv(post(client, to_csv([named(name) for name in NAMES])).content)
        old = [named(name)["Age"] > 45 for name in NAMES]
        assert [row["model_version"] for row in rows] == ["1" if one else "2" for one in old]
        assert read_metrics(client)["churn_canary_fallback_customers_total"] == sum(old) > 0
        assert count_by_version(client) == {"1": sum(old), "2": len(old) - sum(old)}


FEWER = Schema(BANK.features[:5], label="Exited")
AS_TEXT = Schema(
    (*BANK.features[:3], replace(BANK.features[3], kind="category", categories=("42", "43"), minimum=None,
     trained_minimum=None, trained_maximum=None, example=None, unit=""), *BANK.features[4:]), label="Exited",
)  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "version"), [(FEWER, "2"), (ODD, "1"), (AS_TEXT, "1")], ids=["fewer", "other", "text for number"]
)
def test_a_canary_needs_only_columns_that_are_read_for_the_served_version(
    tmp_path: Path, schema: Schema, version: str
) -> None:
    publish(tmp_path)
    publish(tmp_path, schema, CUSTOMER | {"Age": "42"} if schema is AS_TEXT else None if schema is ODD else CUSTOMER)
    Registry(tmp_path).promote(1)
    with start_with_canary(tmp_path, 1.0) as client:
        rows = read_csv(post(client, to_csv([named(name, Age=42) for name in range(5)])).content)
        assert [row["model_version"] for row in rows] == [version] * 5
        assert read_metrics(client)["churn_canary_fallback_customers_total"] == 5 * (version == "1")


def test_a_canary_without_a_background_gives_no_error_for_reasons(tmp_path: Path) -> None:
    publish(tmp_path, background=4)
    publish(tmp_path)
    Registry(tmp_path).promote(1)
    with start_with_canary(tmp_path, 1.0) as client:
        answer = post(client, to_csv([named(1)]), CSV, "?reasons=1")
        assert answer.status_code == 200
        assert read_csv(answer.content)[0]["model_version"] == "1"


def test_the_choice_does_not_depend_on_the_blocks(tmp_path: Path) -> None:
    customers = [named(name) for name in range(3000)]
    with start_with_canary(make_models(tmp_path)) as client:
        rows = read_arrow(post(client, to_arrow(customers, batch_rows=700), ARROW).content)
    assert [row["model_version"] == "2" for row in rows] == [is_chosen(name, SHARE) for name in range(3000)]
