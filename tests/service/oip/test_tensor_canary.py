"""A canary scores customers of inference requests, chosen by their identifiers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER, publish
from canaries import count_by_version, make_models, name_version, named, start_with_canary
from running import read_metrics, start
from test_open_inference import INFER, assert_error, post_binary, read, tensor, tensors
from waiting import wait_until

from churn.registry import Registry
from churn.schema import Schema
from records.find import find
from records.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

NAMES = range(20)
CUSTOMERS = [named(name) for name in NAMES]
VERSIONS = [name_version(name) for name in NAMES]


def infer(client: TestClient, customers: list[dict[str, Any]], **rest: Any) -> Any:
    return client.post(INFER, json={"inputs": tensors(customers)} | rest)


def test_each_customer_is_scored_by_the_version_that_its_identifier_selects(tmp_path: Path) -> None:
    with start_with_canary(make_models(tmp_path)) as client:
        answer = infer(client, CUSTOMERS)
        assert count_by_version(client) == {version: VERSIONS.count(version) for version in ("1", "2")}
        assert read_metrics(client)["churn_batch_size_sum"] == len(NAMES)
        assert answer.json()["model_version"] == "1"
        found = read(answer)
        assert list(found) == ["probability", "churn", "model_version"]
        assert found["model_version"] == VERSIONS
        for row, customer in enumerate(CUSTOMERS):
            one = client.post("/predict", json=customer).json()
            assert {name: values[row] for name, values in found.items()} == {name: one[name] for name in found}
        assert read(post_binary(client, tensors(CUSTOMERS), parameters={"binary_data_output": True})) == found
        only = read(infer(client, CUSTOMERS, outputs=[{"name": "churn"}]))
        assert only == {"churn": found["churn"], "model_version": VERSIONS}


def test_a_request_of_one_version_has_no_output_for_it(tmp_path: Path) -> None:
    models = make_models(tmp_path)
    with start(models) as client:
        plain = infer(client, CUSTOMERS)
        assert plain.content == infer(client, [named(None, **customer) for customer in CUSTOMERS]).content
    anonymous = [{name: value for name, value in one.items() if name != "CustomerId"} for one in CUSTOMERS]
    with start_with_canary(models, 1.0) as client:
        assert infer(client, anonymous).content == plain.content
        answer = infer(client, CUSTOMERS)
        assert answer.json()["model_version"] == "2"
        assert list(read(answer)) == ["probability", "churn"]
        assert count_by_version(client) == {"1": len(NAMES), "2": len(NAMES)}
        pinned = client.post("/v2/models/churn/versions/1/infer", json={"inputs": tensors(CUSTOMERS)})
        assert pinned.content == plain.content


def test_reasons_come_from_the_version_that_scored(tmp_path: Path) -> None:
    with start_with_canary(make_models(tmp_path, background=4)) as client:
        found = read(infer(client, CUSTOMERS, parameters={"reasons": 2}))
        told = client.post("/predict?reasons=2", json={"customers": CUSTOMERS}).json()["predictions"]
    assert found["model_version"] == VERSIONS
    assert found["base"] == [one["base"] for one in told]
    assert len(set(found["base"])) == 2
    for row, one in enumerate(told):
        assert found["reason_points"][2 * row : 2 * row + 2] == [reason["points"] for reason in one["reasons"]]
        assert found["reasons"][2 * row : 2 * row + 2] == [reason["field"] for reason in one["reasons"]]


def test_records_name_customers_and_versions(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start_with_canary(make_models(tmp_path / "models", background=4), records=url) as client:
        store = open_store(url)
        probabilities = read(infer(client, CUSTOMERS))["probability"]
        infer(client, CUSTOMERS, parameters={"reasons": 1})
        wait_until(lambda: len(find(store, limit=1000).records) == 2 * len(NAMES))
        records = sorted(find(store, limit=1000).records, key=lambda record: record[:2])
    for row, record in enumerate(records):
        name = NAMES[row % len(NAMES)]
        assert (record.customer_id, record.model_version) == (str(name), VERSIONS[name])
        assert json.loads(str(record.input)) == CUSTOMERS[name]
        assert record.probability == probabilities[name]
        assert (record.reasons is None) == (row < len(NAMES))


@pytest.mark.parametrize(
    ("datatype", "values", "versions"),
    [
        ("BYTES", [str(name) for name in NAMES], VERSIONS),
        ("UINT8", list(NAMES), VERSIONS),
        ("INT64", [None if name % 2 else name for name in NAMES], ["1" if n % 2 else VERSIONS[n] for n in NAMES]),
        ("BYTES", ["" if name % 2 else str(name) for name in NAMES], ["1" if n % 2 else VERSIONS[n] for n in NAMES]),
    ],
)
def test_identifiers_are_texts_or_whole_numbers(
    tmp_path: Path, datatype: str, values: list[Any], versions: list[str]
) -> None:
    inputs = [tensor("CustomerId", values, datatype), *tensors([CUSTOMER] * len(NAMES))]
    with start_with_canary(make_models(tmp_path)) as client:
        answers = [client.post(INFER, json={"inputs": inputs})]
        if None not in values:
            answers.append(post_binary(client, inputs))
        for answer in answers:
            assert read(answer)["model_version"] == versions


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (tensor("CustomerId", [1.0]), "datatype 'FP64'; allowed: BYTES, INT8"),
        (tensor("CustomerId", [2**63], "UINT64"), "an element that is no identifier; allowed: a text, or a whole"),
        (tensor("CustomerId", ["x"], "INT64"), "data that are not INT64"),
        (tensor("CustomerId", [1, 2]), "shape [2]; allowed: [n] or [n, 1]"),
    ],
)
def test_other_identifiers_are_refused(client: TestClient, sent: dict[str, Any], words: str) -> None:
    assert_error(client.post(INFER, json={"inputs": [*tensors([CUSTOMER]), sent]}), 400, "CustomerId", words)


def test_an_identifier_that_is_no_unicode_is_refused(client: TestClient) -> None:
    body = json.dumps({"inputs": [*tensors([CUSTOMER]), tensor("CustomerId", ["\ud800"])]})
    answer = client.post(INFER, content=body.encode(), headers={"Content-Type": "application/json"})
    assert_error(answer, 400)


def test_identifiers_change_nothing_without_a_canary(client: TestClient) -> None:
    anonymous = [{name: value for name, value in one.items() if name != "CustomerId"} for one in CUSTOMERS]
    assert infer(client, CUSTOMERS).content == infer(client, anonymous).content


def test_a_request_that_the_canary_can_not_score_is_scored_by_the_served_version(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, ODD, ODD_CUSTOMER)
    Registry(tmp_path).promote(1)
    with start_with_canary(tmp_path, 1.0) as client:
        assert infer(client, CUSTOMERS).json()["model_version"] == "1"
        assert read_metrics(client)["churn_canary_fallback_customers_total"] == len(NAMES)


def test_a_canary_may_have_fewer_columns(tmp_path: Path) -> None:
    with start_with_canary(make_models(tmp_path, Schema(BANK.features[:5], label="Exited")), 1.0) as client:
        assert infer(client, CUSTOMERS).json()["model_version"] == "2"


def test_a_canary_without_a_background_gives_no_error_for_reasons(tmp_path: Path) -> None:
    publish(tmp_path, background=4)
    publish(tmp_path)
    Registry(tmp_path).promote(1)
    with start_with_canary(tmp_path, 1.0) as client:
        assert infer(client, CUSTOMERS, parameters={"reasons": 1}).json()["model_version"] == "1"
        assert infer(client, CUSTOMERS).json()["model_version"] == "2"
