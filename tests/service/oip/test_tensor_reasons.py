"""Reasons as outputs of the Open Inference Protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER, WIDE, publish
from running import read_metrics, start
from test_open_inference import CUSTOMERS, INFER, read, tensors

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

SUPPORT = ["support_share", "support_field", "support_low", "support_high", "support_sentence"]
OUTPUTS = ["base", "reasons", "reason_points", "reason_sentences", "reason_standard_errors", *SUPPORT]


def infer(client: TestClient, customers: list[dict[str, Any]], wanted: Any, **rest: Any) -> Any:
    parameters = {"reasons": wanted} | rest.pop("parameters", {})
    return client.post(INFER, json={"inputs": tensors(customers), "parameters": parameters} | rest)


def test_they_are_those_of_predict(client: TestClient) -> None:
    answer = infer(client, CUSTOMERS, 3)
    shapes = {output["name"]: (output["datatype"], output["shape"]) for output in answer.json()["outputs"]}
    rows = len(CUSTOMERS)
    assert shapes == {
        "probability": ("FP64", [rows]),
        "churn": ("BOOL", [rows]),
        "base": ("FP64", [rows]),
        "reasons": ("BYTES", [rows, 3]),
        "reason_points": ("FP64", [rows, 3]),
        "reason_sentences": ("BYTES", [rows, 3]),
        "reason_standard_errors": ("FP64", [rows, 3]),
        "support_share": ("FP64", [rows]),
        "support_field": ("BYTES", [rows]),
        "support_low": ("FP64", [rows]),
        "support_high": ("FP64", [rows]),
        "support_sentence": ("BYTES", [rows]),
    }
    outputs = read(answer)
    for row, customer in enumerate(CUSTOMERS):
        predicted = client.post("/predict?reasons=3", json=customer).json()
        assert outputs["probability"][row] == predicted["probability"]
        assert outputs["base"][row] == predicted["base"]
        for name, key in (("reasons", "field"), ("reason_points", "points"), ("reason_sentences", "sentence")):
            assert outputs[name][3 * row : 3 * row + 3] == [reason[key] for reason in predicted["reasons"]]
    assert set(outputs["reason_standard_errors"]) == {0.0}
    # The version was published without support.
    assert [set(outputs[name]) for name in SUPPORT] == [{0.0}, {""}, {0.0}, {0.0}, {""}]


def test_binary_outputs_say_the_same(client: TestClient) -> None:
    plain = read(infer(client, CUSTOMERS[:2], "all"))
    assert len(plain["reasons"]) == 20
    assert read(infer(client, CUSTOMERS[:2], "all", parameters={"binary_data_output": True})) == plain


def test_without_the_parameter_nothing_is_added(client: TestClient) -> None:
    body = {"inputs": tensors(CUSTOMERS)}
    assert set(read(client.post(INFER, json=body))) == {"probability", "churn"}
    assert [output["name"] for output in client.get("/v2/models/churn").json()["outputs"]] == ["probability", "churn"]


def test_some_of_the_outputs_can_be_chosen(client: TestClient) -> None:
    wanted = [{"name": "reason_points"}, {"name": "probability"}]
    assert list(read(infer(client, CUSTOMERS, "2", outputs=wanted))) == ["reason_points", "probability"]


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_of_reasons_needs_the_parameter(client: TestClient, name: str) -> None:
    answer = client.post(INFER, json={"inputs": tensors(CUSTOMERS), "outputs": [{"name": name}]})
    assert answer.status_code == 400
    assert f"output {name} requires the parameter reasons: a whole number from 1" in answer.json()["error"]


@pytest.mark.parametrize("wanted", [0, -1, 1.0, True, "x", [], {}, "04"])
def test_what_is_no_number_of_reasons_is_refused(client: TestClient, wanted: Any) -> None:
    answer = infer(client, CUSTOMERS, wanted)
    assert answer.status_code == 400
    assert "allowed: a whole number from 1 to 9999, or all" in answer.json()["error"]


def test_limits_and_missing_backgrounds(bank_models: Path, tmp_path: Path) -> None:
    with start(bank_models, max_reasoned=5) as client:
        assert infer(client, CUSTOMERS[:5], 1).status_code == 200
        answer = infer(client, CUSTOMERS, 1)
        assert answer.status_code == 413
        assert "5 customers in one request (CHURN_MAX_REASONED)" in answer.json()["error"]
        assert client.post(INFER, json={"inputs": tensors(CUSTOMERS)}).status_code == 200
        metrics = read_metrics(client)
        assert metrics["churn_reasons_duration_seconds_count"] == 1
        assert metrics["churn_reasoned_customers_total"] == 5
    publish(tmp_path)
    with start(tmp_path) as client:
        answer = infer(client, CUSTOMERS, 1)
        assert answer.status_code == 409
        assert "retrain" in answer.json()["error"]
        assert client.post(INFER, json={"inputs": tensors(CUSTOMERS)}).status_code == 200


def test_estimates_have_their_standard_errors(tmp_path: Path) -> None:
    customer = {name: float(number) for number, name in enumerate(WIDE.names)}
    publish(tmp_path, WIDE, customer, background=2)
    with start(tmp_path) as client:
        outputs = read(infer(client, [customer], 2))
        reasons = client.post("/predict?reasons=2", json=customer).json()["reasons"]
    assert outputs["reason_standard_errors"] == [reason["standard_error"] for reason in reasons]
    assert all(outputs["reason_standard_errors"])


def test_a_customer_with_fewer_reasons_has_empty_ones(client: TestClient) -> None:
    told = read(infer(client, [CUSTOMER], 9999))
    assert len(told["reasons"]) == 10
    listed = client.post("/predict?reasons=9999", json=CUSTOMER).json()["reasons"]
    assert told["reasons"][: len(listed)] == [reason["field"] for reason in listed]
    assert told["reasons"][len(listed) :] == [""] * (10 - len(listed))


def test_the_document_names_the_parameter_and_the_outputs(client: TestClient) -> None:
    document = client.get("/openapi.json").json()["paths"][INFER]["post"]
    schema = document["requestBody"]["content"]["application/json"]["schema"]
    assert "`reasons`" in schema["properties"]["parameters"]["description"]
    assert {*OUTPUTS} < {*schema["properties"]["outputs"]["items"]["properties"]["name"]["enum"]}
    assert "409" in document["responses"]
    assert json.dumps(document)


def test_no_customers_have_no_reasons(client: TestClient) -> None:
    inputs = [one | {"shape": [0], "data": []} for one in tensors(CUSTOMERS[:1])]
    answer = client.post(INFER, json={"inputs": inputs, "parameters": {"reasons": 2}})
    assert answer.status_code == 200
    outputs = {output["name"]: (output["shape"], output["data"]) for output in answer.json()["outputs"]}
    assert outputs["reason_points"] == ([0, 2], [])
    assert outputs["base"] == ([0], [])
