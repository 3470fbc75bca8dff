"""The Open Inference Protocol: its routes, tensors in JSON and binary, and its errors."""

from __future__ import annotations

import json
import math
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import schemathesis
from bundles import CUSTOMER, ODD, ODD_CUSTOMER, publish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from running import read_metrics, start
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from service.app import create_app
from service.oip.elements import NUMBERS
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

INFER = "/v2/models/churn/infer"
SIZE = "Inference-Header-Content-Length"
CUSTOMERS = [CUSTOMER | {"Age": age, "Geography": country} for age in (18, 50, 92) for country in ("Spain", "France")]
BOTH = ["probability", "churn"]
FLAG = next(feature.name for feature in ODD.features if feature.kind == "flag")


def tensor(name: str, values: list[Any], datatype: str | None = None, **more: Any) -> dict[str, Any]:
    kind = type(values[0])
    natural = "BYTES" if kind is str else "FP64" if kind is float else "BOOL" if kind is bool else "INT64"
    return {"name": name, "datatype": datatype or natural, "shape": [len(values)], "data": values} | more


def tensors(customers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [tensor(name, [customer[name] for customer in customers]) for name in customers[0]]


def to_bytes(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in (value.encode() for value in values))
    return np.array(values, "?" if datatype == "BOOL" else NUMBERS[datatype]).tobytes()


def from_bytes(datatype: str, data: bytes) -> list[Any]:
    if datatype != "BYTES":
        values: list[Any] = np.frombuffer(data, {"FP64": "<f8", "BOOL": "?"}[datatype]).tolist()
        return values
    texts, start = [], 0
    while start < len(data):
        (length,) = struct.unpack_from("<I", data, start)
        texts.append(data[start + 4 : start + 4 + length].decode())
        start += 4 + length
    return texts


def post_binary(client: TestClient, inputs: list[dict[str, Any]], **rest: Any) -> Any:
    """Post tensors with their data moved behind the JSON."""
    heads, tail = [], b""
    for sent in inputs:
        data = to_bytes(sent["datatype"], sent["data"])
        head = {key: value for key, value in sent.items() if key != "data"}
        heads.append(head | {"parameters": {"binary_data_size": len(data)}})
        tail += data
    head_bytes = json.dumps({"inputs": heads} | rest).encode()
    return client.post(INFER, content=head_bytes + tail, headers={SIZE: str(len(head_bytes))})


def read(answer: Any) -> dict[str, list[Any]]:
    """Return the outputs of an answer as lists, in JSON or binary."""
    assert answer.status_code == 200, answer.text
    size = answer.headers.get(SIZE)
    expected_type = "application/json" if size is None else "application/octet-stream"
    assert answer.headers["content-type"] == expected_type
    tail = b"" if size is None else answer.content[int(size) :]
    head = json.loads(answer.content[: None if size is None else int(size)])
    outputs = {}
    for output in head["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        if length is None:
            values = output["data"]
        else:
            values = from_bytes(output["datatype"], tail[:length])
            tail = tail[length:]
        assert math.prod(output["shape"]) == len(values)
        outputs[output["name"]] = values
    assert tail == b""
    return outputs


def predict(client: TestClient, customers: list[dict[str, Any]]) -> dict[str, list[Any]]:
    predictions = client.post("/predict", json={"customers": customers}).json()["predictions"]
    return {name: [prediction[name] for prediction in predictions] for name in BOTH}


def assert_error(answer: Any, status: int, *words: str) -> None:
    document = answer.json()
    assert answer.status_code == status, document
    assert answer.headers["content-type"] == "application/json"
    assert list(document) == ["error"]
    for word in words:
        assert word in document["error"]


def test_the_server_says_what_it_is(client: TestClient) -> None:
    assert client.get("/v2").json().items() >= {"name": "churn", "extensions": ["binary_tensor_data"]}.items()
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("path", ["/v2/models/churn", "/v2/models/churn/versions/1"])
def test_the_model_says_which_tensors_it_takes(client: TestClient, odd_client: TestClient, path: str) -> None:
    model = client.get(path).json()
    assert model["name"] == "churn"
    assert model["versions"] == ["1"]
    assert model["platform"] == "onnxruntime_onnx"
    datatypes = {found["name"]: found["datatype"] for found in model["inputs"]}
    assert list(datatypes) == list(CUSTOMER)
    assert [datatypes[name] for name in ("Geography", "Age", "Balance", "HasCrCard")] == [
        "BYTES", "INT64", "FP64", "BOOL"
    ]  # fmt: skip
    assert model["outputs"] == [
        {"name": "probability", "datatype": "FP64", "shape": [-1]},
        {"name": "churn", "datatype": "BOOL", "shape": [-1]},
    ]
    # A feature that may be missing needs a datatype that can say so.
    assert {found["datatype"] for found in odd_client.get(path).json()["inputs"]} == {"BYTES", "FP64"}
    assert client.get(f"{path}/ready").json() == {"name": "churn", "ready": True}


def test_tensors_get_the_answers_that_predict_gives(client: TestClient) -> None:
    answer = client.post(INFER, json={"id": "42", "inputs": tensors(CUSTOMERS)})
    assert read(answer) == predict(client, CUSTOMERS)
    assert len(set(read(answer)["probability"])) == len(CUSTOMERS)
    assert answer.json().items() >= {"model_name": "churn", "model_version": "1", "id": "42"}.items()
    other = client.post("/v2/models/churn/versions/1/infer", json={"inputs": tensors(CUSTOMERS)})
    assert read(other) == read(answer)
    assert "id" not in other.json()


def test_inputs_may_come_in_any_order_and_as_columns_of_a_matrix(client: TestClient) -> None:
    nested = [sent | {"shape": [6, 1], "data": [[value] for value in sent["data"]]} for sent in tensors(CUSTOMERS)]
    flat = [sent | {"shape": [6, 1]} for sent in tensors(CUSTOMERS)]
    expected = predict(client, CUSTOMERS)
    for inputs in (nested, flat, nested[::-1]):
        assert read(client.post(INFER, json={"inputs": inputs})) == expected
    assert read(post_binary(client, flat[::-1])) == expected


def test_a_request_for_no_customers_gets_no_answers(client: TestClient) -> None:
    inputs = [sent | {"shape": [0], "data": []} for sent in tensors([CUSTOMER])]
    assert read(client.post(INFER, json={"inputs": inputs})) == {"probability": [], "churn": []}
    assert read(post_binary(client, inputs)) == {"probability": [], "churn": []}


@pytest.mark.parametrize(
    ("rest", "binary"),
    [
        ({}, []),
        ({"parameters": {"binary_data_output": True}}, BOTH),
        ({"parameters": {"binary_data_output": False}}, []),
        ({"outputs": []}, []),
        ({"outputs": [{"name": "churn", "parameters": {"binary_data": True}}, {"name": "probability"}]}, ["churn"]),
        ({"outputs": [{"name": "probability"}]}, []),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "probability", "parameters": {"binary_data": False}}, {"name": "churn"}],
            },
            ["churn"],
        ),
    ],
)
def test_outputs_come_as_they_are_wanted(client: TestClient, rest: dict[str, Any], binary: list[str]) -> None:
    expected = predict(client, CUSTOMERS)
    wanted = [output["name"] for output in rest.get("outputs", [])] or BOTH
    for answer in (client.post(INFER, json={"inputs": tensors(CUSTOMERS)} | rest),
                   post_binary(client, tensors(CUSTOMERS), **rest)):  # fmt: skip
        assert list(read(answer).items()) == [(name, expected[name]) for name in wanted]
        head = json.loads(answer.content[: int(answer.headers.get(SIZE, len(answer.content)))])
        assert [output["name"] for output in head["outputs"] if "data" not in output] == binary


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_datatype_gives_the_same_customer(client: TestClient, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 4))
    customers = [
        CUSTOMER
        | {
            "Age": data.draw(st.integers(0, 120)),
            "Geography": data.draw(st.sampled_from(["France", "Germany", "Spain"])),
            "HasCrCard": data.draw(st.integers(0, 1)),
            "Balance": float(data.draw(st.integers(0, 120))),
        }
        for _ in range(size)
    ]
    datatypes = {
        "Age": data.draw(st.sampled_from(sorted(NUMBERS))),
        "Balance": data.draw(st.sampled_from(sorted(NUMBERS))),
        "HasCrCard": data.draw(st.sampled_from(["BOOL", "BYTES", *sorted(NUMBERS)])),
        "EstimatedSalary": "FP64",
    }
    inputs = []
    for sent in tensors(customers):
        sent["datatype"] = datatypes.get(sent["name"], sent["datatype"])
        if sent["datatype"] == "BOOL":
            sent["data"] = [bool(value) for value in sent["data"]]
        elif sent["datatype"] == "BYTES" and sent["name"] == "HasCrCard":
            sent["data"] = [data.draw(st.sampled_from([["no", "0", "False"], ["yes", "1", "TRUE"]][value]))
                            for value in sent["data"]]  # fmt: skip
        elif sent["datatype"] in NUMBERS and not sent["datatype"].startswith("FP"):
            sent["data"] = [int(value) for value in sent["data"]]
        inputs.append(sent)
    expected = predict(client, customers)
    assert read(post_binary(client, inputs)) == expected
    assert read(client.post(INFER, json={"inputs": inputs})) == expected


def odd_inputs(**changes: Any) -> list[dict[str, Any]]:
    sent = {
        "class": tensor("class", ["ü"]),
        "_income": tensor("_income", [ODD_CUSTOMER["_income"]]),
        FLAG: tensor(FLAG, [True]),
        "plain": tensor("plain", [ODD_CUSTOMER["plain"]], "FP64"),
    }
    return [found for found in (sent | changes).values() if found is not None]


@pytest.mark.parametrize(
    "missing",
    [
        None,
        tensor("_income", [float("nan")], "FP32"),
        tensor("_income", [None], "FP64"),
        tensor("_income", [None], "INT64"),
    ],
    ids=["no tensor", "NaN", "null", "null among integers"],
)
def test_what_may_be_missing_is_missing(odd_client: TestClient, missing: Any) -> None:
    expected = predict(odd_client, [ODD_CUSTOMER | {"_income": None}])
    assert expected != predict(odd_client, [ODD_CUSTOMER])
    inputs = odd_inputs(_income=missing)
    # JSON has no NaN, and clients write it all the same.
    assert read(odd_client.post(INFER, content=json.dumps({"inputs": inputs}))) == expected
    if missing is None or missing["datatype"] == "FP32":
        assert read(post_binary(odd_client, inputs)) == expected


@pytest.mark.parametrize("text", ["", None])
def test_an_empty_text_is_a_missing_flag(odd_client: TestClient, text: str | None) -> None:
    expected = predict(odd_client, [ODD_CUSTOMER | {FLAG: None}])
    assert expected != predict(odd_client, [ODD_CUSTOMER])
    inputs = odd_inputs(**{FLAG: tensor(FLAG, [text], "BYTES")})
    assert read(odd_client.post(INFER, json={"inputs": inputs})) == expected
    if text is not None:
        assert read(post_binary(odd_client, inputs)) == expected


def changed(name: str, **changes: Any) -> list[dict[str, Any]]:
    """Return the tensors of two customers with one changed."""
    return [sent | (changes if sent["name"] == name else {}) for sent in tensors([CUSTOMER, CUSTOMER])]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], ["at least one input"]),
        (changed("Age")[1:], ["missing: CreditScore"]),
        ([*changed("Age"), tensor("Shoe", [1, 2])], ["'Shoe'", "not one of this model's"]),
        ([*changed("Age"), tensor("Age", [1, 2])], ["the same name"]),
        (changed("Age", datatype="BYTES"), ["'Age'", "datatype 'BYTES'", "INT64"]),
        (changed("Age", datatype="BOOL"), ["'Age'", "datatype 'BOOL'"]),
        (changed("Age", datatype="int"), ["'Age'", "datatype 'int'"]),
        (changed("Gender", datatype="INT64"), ["'Gender'", "datatype 'INT64'", "BYTES"]),
        (changed("Age", shape=[3]), ["'Age'", "shape [3]"]),
        (changed("Age", shape=[1, 2]), ["'Age'", "shape [1, 2]"]),
        (changed("CreditScore", shape=[]), ["'CreditScore'", "shape []"]),
        (changed("CreditScore", shape=[-2]), ["'CreditScore'", "shape [-2]"]),
        (changed("Age", data=[42]), ["'Age'", "1 elements"]),
        (changed("Age", data=[42, "43"]), ["'Age'", "not INT64"]),
        (changed("Age", data=[42, 43.0]), ["'Age'", "not INT64"]),
        (changed("Age", data=[42, True]), ["'Age'", "not INT64"]),
        (changed("Balance", data=[42, True]), ["'Balance'", "not FP64"]),
        (changed("Age", data=[[42], [43]]), ["'Age'", "not INT64"]),
        (changed("Age", shape=[2, 1], data=[[42], [43, 44]]), ["'Age'"]),
        (changed("HasCrCard", datatype="BOOL"), ["'HasCrCard'", "not BOOL"]),
        (changed("Gender", data=["Male", 1]), ["'Gender'", "not strings"]),
        (changed("Age", parameters={"binary_data_size": 16}), ["'Age'", "not exactly one"]),
        (changed("Age", parameters={"shared_memory_region": "x"}), ["'Age'", "shared memory"]),
    ],
)
def test_tensors_that_do_not_fit_are_named(client: TestClient, inputs: Any, words: list[str]) -> None:
    before = read_metrics(client).get('churn_rejected_requests_total{reason="invalid-tensors"}', 0)
    assert_error(client.post(INFER, json={"inputs": inputs}), 400, *words)
    assert read_metrics(client)['churn_rejected_requests_total{reason="invalid-tensors"}'] == before + 1


@pytest.mark.parametrize(
    ("outputs", "word"),
    [
        ([{"name": "logit"}], "'logit'"),
        ([{"name": "churn", "parameters": {"classification": 1}}], "classification"),
        ([{"name": "churn", "parameters": {"shared_memory_region": "x"}}], "shared_memory"),
    ],
)
def test_outputs_there_are_not_are_named(client: TestClient, outputs: Any, word: str) -> None:
    assert_error(client.post(INFER, json={"inputs": tensors(CUSTOMERS), "outputs": outputs}), 400, word)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["line 1, column 1"]),
        (b'{"inputs": [', ["line 1"]),
        (b"\xff{}", ["UTF-8"]),
        (b'{"inputs": [{"name": "\xff"}]}', ["UTF-8: byte 22 is 0xff"]),
        (b"[]", ["object"]),
        (b"{}", ["inputs"]),
        (b'{"inputs": {}}', ["array"]),
        (b'{"inputs": [{"name": "Age"}]}', ["datatype"]),
        (b'{"inputs": [{"name": 1, "datatype": "FP64", "shape": [1]}]}', ["str"]),
        (b'{"inputs": [{"name": "Age", "datatype": "FP64", "shape": [1.5]}]}', ["int"]),
    ],
)
def test_a_body_that_is_no_request_is_explained(client: TestClient, body: bytes, words: list[str]) -> None:
    assert_error(client.post(INFER, content=body), 400, *words)


def binary_body(changes: Mapping[str, Any]) -> bytes:
    """Return the JSON of two customers with binary data of Age and Geography, some of its tensors changed."""
    inputs = tensors([CUSTOMER, CUSTOMER])
    for sent in inputs:
        if sent["name"] in ("Age", "Geography", "HasCrCard"):
            del sent["data"]
            sent["parameters"] = {"binary_data_size": 16}
            sent |= changes.get(sent["name"], {})
    return json.dumps({"inputs": inputs}).encode()


TEXTS = b"\4\0\0\0abcd" * 2
SPAIN, AGES, CARDS = to_bytes("BYTES", ["Spain", "Peru"])[:16], to_bytes("INT64", [1, 2]), to_bytes("INT64", [1, 0])


@pytest.mark.parametrize(
    ("changes", "tail", "words"),
    [
        ({}, AGES + CARDS, ["'HasCrCard'", "0 bytes are left"]),
        ({}, SPAIN + AGES + CARDS + b"x", ["1 bytes follow"]),
        ({}, SPAIN + AGES + CARDS, ["'Geography'", "not UTF-8"]),
        ({}, b"\xff" * 16 + AGES + CARDS, ["'Geography'", "not UTF-8"]),
        ({}, b"\1\0\0\0\xff" * 2 + b"\2\0\0\0xy" + AGES + CARDS, ["'Geography'", "not UTF-8"]),
        ({}, b"\0" * 16 + AGES + CARDS, ["'Geography'", "4 elements"]),
        ({"Age": {"datatype": "INT32"}}, TEXTS + AGES + CARDS, ["'Age'", "16 bytes"]),
        ({"HasCrCard": {"parameters": {"binary_data_size": -1}}}, SPAIN + AGES, ["'HasCrCard'", "-1"]),
        ({"HasCrCard": {"parameters": {"binary_data_size": True}}}, SPAIN + AGES, ["'HasCrCard'", "True"]),
        ({"HasCrCard": {"parameters": {"binary_data_size": "16"}}}, SPAIN + AGES, ["'HasCrCard'", "'16'"]),
        ({"HasCrCard": {"parameters": {}}}, SPAIN + AGES, ["'HasCrCard'", "not exactly one"]),
    ],
)  # fmt: skip
def test_binary_data_that_do_not_fit_are_named(client: TestClient, changes: Any, tail: bytes, words: Any) -> None:
    head = binary_body(changes)
    answer = client.post(INFER, content=head + tail, headers={SIZE: str(len(head))})
    assert_error(answer, 400, *words)


def test_a_binary_boolean_is_0_or_1(client: TestClient) -> None:
    inputs = changed("HasCrCard", datatype="UINT8", data=[1, 2])
    assert_error(post_binary(client, inputs), 422, "customer 1: HasCrCard is not a flag: sent 2")
    flag = {"name": "HasCrCard", "datatype": "BOOL", "shape": [2], "parameters": {"binary_data_size": 2}}
    head = json.dumps({"inputs": [flag if sent["name"] == "HasCrCard" else sent for sent in inputs]}).encode()
    answer = client.post(INFER, content=head + b"\1\2", headers={SIZE: str(len(head))})
    assert_error(answer, 400, "'HasCrCard'", "other than 0 and 1")


@pytest.mark.parametrize("size", ["x", "-1", "1.5", "9" * 30, "999999", ""])
def test_a_wrong_size_of_the_json_is_named(client: TestClient, size: str) -> None:
    answer = client.post(INFER, content=b"{}", headers={SIZE: size})
    assert_error(answer, 400)


def test_values_that_can_not_be_scored_are_listed(client: TestClient) -> None:
    inputs = changed("Age", data=[-1, 10**30])
    inputs = [sent | ({"data": ["France", "Peru"]} if sent["name"] == "Geography" else {}) for sent in inputs]
    before = read_metrics(client).get('churn_rejected_requests_total{reason="invalid-customers"}', 0)
    assert_error(
        client.post(INFER, json={"inputs": inputs}), 422,
        "customer 0: Age is too small: sent -1", "customer 1: Age is beyond 1e+15",
        "customer 1: Geography is an unknown category: sent 'Peru', allowed: one of France, Germany, Spain",
    )  # fmt: skip
    assert read_metrics(client)['churn_rejected_requests_total{reason="invalid-customers"}'] == before + 1
    many = client.post(INFER, json={"inputs": [*tensors([CUSTOMER | {"Age": -1}] * 50)]})
    assert_error(many, 422, "customer 9: Age", "; and more")
    assert "customer 10:" not in many.text


@pytest.mark.parametrize("value", [10**400, 10**30, float("inf"), float("nan"), None])
def test_a_number_beyond_all_is_refused(client: TestClient, value: Any) -> None:
    inputs = changed("Balance", data=[0, value])
    assert_error(client.post(INFER, content=json.dumps({"inputs": inputs})), 422, "customer 1: Balance")


@pytest.mark.parametrize(
    ("method", "path", "status", "word"),
    [
        ("GET", "/v2/models/other", 404, "'churn'"),
        ("POST", "/v2/models/other/infer", 404, "'churn'"),
        ("GET", "/v2/models/churn/versions/2", 404, "available: '1'"),
        ("GET", "/v2/models/churn/versions/2/ready", 404, "available: '1'"),
        ("POST", "/v2/models/churn/versions/2/infer", 404, "available: '1'"),
        ("GET", "/v2/repository/index", 404, "/docs"),
        ("GET", "/v2/models/churn/infer", 405, "POST"),
        ("POST", "/v2/models/churn", 405, "GET, HEAD"),
        ("DELETE", "/v2", 405, "GET, HEAD"),
    ],
)
def test_what_is_not_there_is_said_in_the_protocols_form(
    client: TestClient, method: str, path: str, status: int, word: str
) -> None:
    answer = client.request(method, path)
    assert_error(answer, status, word)
    assert answer.headers.get("allow") == (word if status == 405 else None)


@pytest.mark.parametrize(
    ("name", "value"), [("sequence_id", 1), ("sequence_id", "a"), ("sequence_start", True), ("sequence_end", True)]
)
def test_sequences_are_refused(client: TestClient, name: str, value: Any) -> None:
    body = {"inputs": tensors(CUSTOMERS)}
    assert_error(client.post(INFER, content=json.dumps(body | {"parameters": {name: value}})), 400, name)
    none = {"sequence_id": 0, "sequence_start": False, "sequence_end": False, "priority": 1, "mine": "x"}
    assert client.post(INFER, content=json.dumps(body | {"parameters": none})).status_code == 200


def test_customers_and_requests_are_counted(client: TestClient) -> None:
    series = ('churn_requests_total{method="POST",route="/v2/models/churn/infer",status="200"}', "churn_score_count")
    before = read_metrics(client)
    read(client.post(INFER, json={"inputs": tensors(CUSTOMERS)}))
    after = read_metrics(client)
    assert [after[name] - before.get(name, 0) for name in series] == [1, 6]


@pytest.fixture(scope="module")
def narrow_client(bank_models: Path) -> Iterator[TestClient]:
    with start(bank_models, max_customers=5, max_body_bytes=4000) as client:
        yield client


def test_limits_are_those_of_predict(narrow_client: TestClient) -> None:
    inputs = [sent | {"shape": [6], "data": []} for sent in tensors(CUSTOMERS)]
    assert_error(narrow_client.post(INFER, json={"inputs": inputs}), 413, "6 customers", "allowed: 5 ")
    assert_error(narrow_client.post(INFER, content=b" " * 4001), 413, "4000")
    assert_error(narrow_client.post(INFER, content=iter([b" " * 2001] * 2)), 413, "4000")


def test_large_requests_get_the_same_answers(client: TestClient) -> None:
    many = CUSTOMERS * 1500
    answer = post_binary(client, tensors(many))
    assert len(answer.request.content) > 256 * 1024  # these are scored in a thread
    assert read(answer) == {name: values * 1500 for name, values in predict(client, CUSTOMERS).items()}


def test_nothing_is_ready_without_a_model(tmp_path: Path) -> None:
    publish(tmp_path, ODD, threshold=0.25)
    (tmp_path / "1" / "model.onnx").write_bytes(b"altered")
    with TestClient(create_app(Settings(models=tmp_path))) as client:
        while client.get("/v2/health/ready").json()["error"] == "the model is being loaded":
            pass
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2").status_code == 200
        for path in ("/v2/health/ready", "/v2/models/churn/ready", "/v2/models/churn", "/v2/models/churn/versions/1"):
            answer = client.get(path)
            assert_error(answer, 503, "model.onnx")
            assert answer.headers["retry-after"] == "1"
        assert_error(client.post(INFER, json={"inputs": odd_inputs()}), 503, "model.onnx")


def test_a_failure_is_told_without_its_reason(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    with start(bank_models) as client:
        monkeypatch.setattr("service.oip.routes.read_request", fail)
        answer = client.post(INFER, json={"inputs": tensors(CUSTOMERS)})
        assert_error(answer, 500, "identifier")
        assert "secret" not in answer.text
        assert "secret" in caplog.text


def test_the_openapi_document_has_the_protocol(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    found = {path: list(operations) for path, operations in paths.items() if path.startswith("/v2")}
    version = "/v2/models/churn/versions/{version}"
    assert found == {
        "/v2": ["get"], "/v2/health/live": ["get"], "/v2/health/ready": ["get"], "/v2/models/churn": ["get"],
        "/v2/models/churn/ready": ["get"], INFER: ["post"],
        version: ["get"], f"{version}/ready": ["get"], f"{version}/infer": ["post"],
    }  # fmt: skip
    operation = paths[INFER]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
    assert {"400", "413", "415", "422", "500", "503"} < set(operation["responses"])
    assert "422" not in paths[version]["get"]["responses"]


def test_schemathesis_finds_no_undocumented_answer(client: TestClient) -> None:
    # The document can't say that tensors must fit each other, so what it allows may be refused, in a documented way.
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", client.app).include(path_regex="^/v2")
    statuses = set()
    for found in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:

            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            @given(case=found.ok().as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                statuses.add(case.call_and_validate(checks=checks).status_code)

            with suppress(Unsatisfiable):  # a GET without parameters has no invalid form
                check()
    assert statuses >= {200, 400, 404}
