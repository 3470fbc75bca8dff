"""The contract of `POST /predict` and of every error answer."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, ODD_CUSTOMER, QUOTED, make_preprocessor, probability_of, publish
from problems import assert_problem
from running import read_metrics, send_in_parts, start

from service.guard.request_body import INLINE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

JSON = {"Content-Type": "application/json"}


def post(client: TestClient, body: bytes | str, **headers: str) -> Any:
    return client.post("/predict", content=body, headers=JSON | headers)


def test_one_customer_gets_the_networks_probability_rounded(client: TestClient, bank_models: Path) -> None:
    expected = probability_of(bank_models / "1", BANK, make_preprocessor(BANK), CUSTOMER)
    answer = client.post("/predict", json=CUSTOMER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "probability": round(expected, 6),
        "churn": round(expected, 6) > 0.5,
        "model_version": "1",
    }


def test_many_customers_are_answered_in_order_and_as_if_alone(client: TestClient) -> None:
    customers = [
        CUSTOMER | {"Age": age, "Geography": country} for age in (18, 50, 92) for country in ("Spain", "France")
    ]
    alone = [client.post("/predict", json=customer).json() for customer in customers]
    answer = client.post("/predict", json={"customers": customers}).json()
    assert answer["model_version"] == "1"
    assert len({one["probability"] for one in alone}) == len(customers)
    for one, other in zip(alone, answer["predictions"], strict=True):
        assert other == {"probability": pytest.approx(one["probability"], abs=1e-6), "churn": one["churn"]}


def test_an_empty_batch_is_an_empty_answer(client: TestClient) -> None:
    answer = client.post("/predict", json={"customers": []})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [], "model_version": "1"})


def test_the_threshold_is_exceeded_strictly(tmp_path: Path) -> None:
    publish(tmp_path)
    with start(tmp_path) as client:
        probability = client.post("/predict", json=CUSTOMER).json()["probability"]
    for threshold, leaves in ((probability, False), (probability - 1e-6, True)):
        publish(tmp_path, threshold=threshold)
        with start(tmp_path) as client:
            assert client.post("/predict", json=CUSTOMER).json()["churn"] is leaves
            batch = client.post("/predict", json={"customers": [CUSTOMER]}).json()
            assert batch["predictions"][0]["churn"] is leaves


@pytest.mark.parametrize("identifier", ["15634602", 15634602, "", "ü✓", -(2**63), 2**63 - 1])
def test_the_identifier_is_echoed(client: TestClient, identifier: str | int) -> None:
    named = CUSTOMER | {"CustomerId": identifier}
    assert client.post("/predict", json=named).json()["CustomerId"] == identifier
    batch = client.post("/predict", json={"customers": [CUSTOMER, named]}).json()["predictions"]
    assert "CustomerId" not in batch[0]
    assert batch[1]["CustomerId"] == identifier


def test_a_whole_number_written_as_a_fraction_is_an_identifier(client: TestClient) -> None:
    body = json.dumps(CUSTOMER)[:-1] + ', "CustomerId": 15634602.0}'
    assert post(client, body).json()["CustomerId"] == 15634602
    batch = post(client, f'{{"customers": [{body}]}}').text
    assert '"CustomerId":15634602}' in batch


@pytest.mark.parametrize(
    "identifier", ["1.5", "NaN", "Infinity", "true", "[]", "{}", str(2**63), "9" * 5000, r'"\ud800"']
)
def test_an_identifier_that_names_nobody_is_refused(client: TestClient, identifier: str) -> None:
    one = json.dumps(CUSTOMER)[:-1] + f', "CustomerId": {identifier}}}'
    for body in (one, f'{{"customers": [{one}]}}'):
        document = assert_problem(post(client, body), 422, "invalid-customers")
        assert [error["field"] for error in document["errors"]] == ["CustomerId"]


def test_an_identifier_that_is_null_was_not_sent(client: TestClient) -> None:
    plain, nobody = json.dumps(CUSTOMER), json.dumps(CUSTOMER | {"CustomerId": None})
    named = json.dumps(CUSTOMER | {"CustomerId": "me"})
    for one in (nobody, nobody.replace("619", "619e0")):  # read the fast way, and so that the slow one must
        assert post(client, one).content == post(client, plain).content
        batch = post(client, f'{{"customers": [{one}, {named}]}}').json()["predictions"]
        assert [prediction.get("CustomerId") for prediction in batch] == [None, "me"]
        assert "CustomerId" not in batch[0]


def test_values_outside_training_are_scored_with_a_warning(client: TestClient) -> None:
    warning = {"field": "Age", "sent": 101, "trained_minimum": 18, "trained_maximum": 92}
    answer = client.post("/predict", json=CUSTOMER | {"Age": 101}).json()
    assert answer["warnings"] == [warning]
    batch = client.post("/predict", json={"customers": [CUSTOMER, CUSTOMER | {"Age": 101}]}).json()
    assert "warnings" not in batch["predictions"][0]
    assert batch["predictions"][1]["warnings"] == [warning]


@pytest.mark.parametrize(
    ("field", "text", "sent", "reason"),
    [
        ("Age", "-1", -1, "is too small"),
        ("Age", "NaN", "NaN", "is not a finite number"),
        ("Balance", "Infinity", "Infinity", "is not a finite number"),
        ("Balance", "-Infinity", "-Infinity", "is not a finite number"),
        ("Balance", "1e999", "Infinity", "is not a finite number"),
        ("Balance", "1e16", 1e16, "is beyond 1e+15"),
        ("Balance", "9" * 5000, "Infinity", "is not a finite number"),
        ("Balance", "9" * 399, "9" * 100 + "…", "is not a finite number"),
        ("Age", "42.5", 42.5, "is not a whole number"),
        ("Age", "true", True, "is not a number"),
        ("Age", '"42"', "42", "is not a number"),
        ("Age", "null", None, "is missing"),
        ("Age", "[1]", "a list", "is not a number"),
        ("Age", '{"a": 1}', "an object", "is not a number"),
        ("Geography", '"Italy"', "Italy", "is an unknown category"),
        ("Geography", r'"\ud800"', "?", "is an unknown category"),
        ("Geography", "1", 1, "is not a text"),
        ("HasCrCard", "2", 2, "is not a flag"),
        ("HasCrCard", "0.5", 0.5, "is not a flag"),
        ("HasCrCard", '"perhaps"', "perhaps", "is not a flag"),
    ],
)
def test_a_wrong_value_is_named(client: TestClient, field: str, text: str, sent: object, reason: str) -> None:
    one = json.dumps(CUSTOMER | {field: "PLACE"}).replace('"PLACE"', text)
    fine = json.dumps(CUSTOMER)
    for body, index in ((one, 0), (f'{{"customers": [{fine}, {one}]}}', 1)):
        document = assert_problem(post(client, body), 422, "invalid-customers")
        allowed = BANK[field].allowed
        assert document["errors"] == [
            {"customer": index, "field": field, "reason": reason, "sent": sent, "allowed": allowed}
        ]
        assert f"customer {index}: {field} {reason}" in document["detail"]


def test_unknown_and_missing_fields_are_named(client: TestClient) -> None:
    wrong = {key: value for key, value in CUSTOMER.items() if key != "Tenure"} | {"Surname": "x" * 200, "Exited": 1}
    document = assert_problem(client.post("/predict", json=wrong), 422, "invalid-customers")
    assert [(error["field"], error["reason"]) for error in document["errors"]] == [
        ("Tenure", "is missing"),
        ("Exited", "is not a field of this model"),
        ("Surname", "is not a field of this model"),
    ]
    assert document["errors"][2]["sent"] == "x" * 100 + "…"
    assert "CreditScore" in document["errors"][2]["allowed"]


def test_all_wrong_values_are_listed_up_to_a_hundred(client: TestClient) -> None:
    wrong = CUSTOMER | {"Age": -1, "Tenure": "x", "Gender": "?"}
    document = client.post("/predict", json={"customers": [CUSTOMER, wrong, wrong]}).json()
    assert [(error["customer"], error["field"]) for error in document["errors"]] == [
        (row, field) for row in (1, 2) for field in ("Gender", "Age", "Tenure")
    ]
    assert "(and 5 more, see errors)" in document["detail"]
    document = client.post("/predict", json={"customers": [wrong] * 1000}).json()
    assert len(document["errors"]) == 100
    assert "(and 99 or more others, see errors)" in document["detail"]


@pytest.mark.parametrize("body", ["[]", "1", '"x"', "null", "NaN", "[[]]"])
def test_a_body_that_is_no_object_is_refused(client: TestClient, body: str) -> None:
    document = assert_problem(post(client, body), 422, "invalid-customers")
    assert document["errors"][0]["customer"] is None
    assert document["errors"][0]["reason"] == "is not an object"


def test_a_batch_that_is_none_is_refused(client: TestClient) -> None:
    document = assert_problem(client.post("/predict", json={"customers": 3, "x": 1}), 422, "invalid-customers")
    assert [(e["customer"], e["field"], e["reason"]) for e in document["errors"]] == [
        (None, "x", "is not a field of this model"),
        (None, "customers", "is not a list"),
    ]
    document = assert_problem(client.post("/predict", json={"customers": [CUSTOMER, 7]}), 422, "invalid-customers")
    assert [(e["customer"], e["field"], e["reason"]) for e in document["errors"]] == [(1, None, "is not an object")]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"a": 1} x', "line 1, column 10"),
        (b"{'a': 1}", "line 1, column 2"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
        (b'{"a": 01}', "line 1, column 8"),
    ],
)
def test_malformed_json_names_the_place(client: TestClient, body: bytes, where: str) -> None:
    assert where in assert_problem(post(client, body), 400, "malformed-json")["detail"]


def test_a_byte_order_mark_is_let_pass(client: TestClient) -> None:
    assert post(client, b"\xef\xbb\xbf" + json.dumps(CUSTOMER).encode()).status_code == 200


def test_a_twice_named_field_counts_as_its_last(client: TestClient) -> None:
    body = '{"Age": 20, ' + json.dumps(CUSTOMER)[1:]
    assert post(client, body).json() == client.post("/predict", json=CUSTOMER).json()


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "Application/JSON ;a=b"])
def test_json_is_accepted_however_it_is_announced(client: TestClient, media_type: str) -> None:
    assert post(client, json.dumps(CUSTOMER), **{"Content-Type": media_type}).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_other_content_types_are_refused(client: TestClient, media_type: str) -> None:
    document = assert_problem(
        post(client, json.dumps(CUSTOMER), **{"Content-Type": media_type}), 415, "unsupported-media-type"
    )
    assert "'application/json'" in document["detail"]


def test_a_body_above_the_limit_is_refused_whether_announced_or_streamed(bank_models: Path) -> None:
    with start(bank_models, max_body_bytes=1000) as client:
        body = json.dumps({"customers": [CUSTOMER] * 10}).encode()
        document = assert_problem(post(client, body), 413, "body-too-large")
        assert "1000" in document["detail"]
        sent = send_in_parts(client, [body[i : i + 100] for i in range(0, len(body), 100)])
        assert sent[0]["status"] == 413
        assert json.loads(sent[1]["body"]) == document
        assert post(client, json.dumps(CUSTOMER)).status_code == 200


def test_a_body_whose_announced_length_lies_is_refused(bank_models: Path) -> None:
    with start(bank_models, max_body_bytes=1000) as client:
        body = json.dumps({"customers": [CUSTOMER] * 10})
        assert_problem(post(client, body, **{"Content-Length": "10"}), 413, "body-too-large")


def test_too_many_customers_are_refused(bank_models: Path) -> None:
    with start(bank_models, max_customers=3) as client:
        assert client.post("/predict", json={"customers": [CUSTOMER] * 3}).status_code == 200
        document = assert_problem(client.post("/predict", json={"customers": [{}] * 4}), 413, "too-many-customers")
        assert "4 customers" in document["detail"]
        assert "allowed: 3 " in document["detail"]


def test_a_body_in_parts_is_read_whole(client: TestClient) -> None:
    body = json.dumps(CUSTOMER).encode()
    sent = send_in_parts(client, [body[i : i + 7] for i in range(0, len(body), 7)])
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"]) == client.post("/predict", json=CUSTOMER).json()


@pytest.mark.parametrize("parts", [[], [b"{"]])
def test_a_client_that_leaves_is_counted_and_forgotten(client: TestClient, parts: list[bytes]) -> None:
    gone = 'churn_requests_total{method="POST",route="/predict",status="499"}'
    before = read_metrics(client).get(gone, 0)
    assert send_in_parts(client, parts, leave=True) == []
    after = read_metrics(client)
    assert after[gone] == before + 1
    assert after["churn_requests_in_flight"] == 0


def test_a_large_batch_is_scored_in_the_thread(client: TestClient) -> None:
    threads = []
    state = client.app.model_state  # type: ignore[attr-defined]
    parse = type(state.model.parser).parse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(state.model.parser),
            "parse",
            lambda self, body: threads.append(threading.current_thread().name) or parse(self, body),
        )
        batch = {"customers": [CUSTOMER] * 9_000}
        assert len(json.dumps(batch)) > INLINE_BYTES
        answer = client.post("/predict", json=batch).json()
        client.post("/predict", json=CUSTOMER)
    assert len(answer["predictions"]) == 9_000
    assert threads[0].startswith("scoring")
    assert not threads[1].startswith("scoring")


def test_too_much_waiting_is_answered_with_retry_after(bank_models: Path) -> None:
    with start(bank_models, max_body_bytes=10_000, max_pending_bytes=10_000) as client:
        client.app.processor._pending = 9_900  # type: ignore[attr-defined]
        body = json.dumps(CUSTOMER).encode()
        sent = send_in_parts(client, [body[:50], body[50:]])
        assert sent[0]["status"] == 503
        assert (b"retry-after", b"1") in sent[0]["headers"]
        assert json.loads(sent[1]["body"])["type"] == "urn:churn:overloaded"
        assert client.app.processor._pending == 9_900  # type: ignore[attr-defined]
        assert client.post("/predict", json=CUSTOMER).status_code == 200


@pytest.mark.parametrize("batch", [False, True])
def test_a_fault_of_ours_tells_nothing_but_an_identifier(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    batch: bool,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret 42")

    state = client.app.model_state  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(state.model.scorer), "infer" if batch else "infer_row", fail)
        answer = client.post("/predict", json={"customers": [CUSTOMER]} if batch else CUSTOMER)
    document = assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    identifier = document["detail"].split()[-1]
    assert identifier in caplog.text
    assert "secret 42" in caplog.text
    assert str(CUSTOMER["EstimatedSalary"]) not in caplog.text


def test_a_fault_in_another_route_tells_nothing_either(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> bytes:
        raise RuntimeError("secret 42")

    monkeypatch.setattr("service.observe.metrics.generate_latest", fail)
    answer = client.get("/metrics")
    assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "secret 42" in caplog.text


def test_unknown_paths_and_methods_are_problems(client: TestClient) -> None:
    assert_problem(client.get("/nope"), 404, "not-found")
    assert_problem(client.get("/docs-static/nope.js"), 404, "not-found")
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(method, "/predict")
        document = assert_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "POST"
        assert "POST" in document["detail"]
    assert_problem(client.post("/model"), 405, "method-not-allowed")


def test_predict_answers_behind_a_path_added_by_a_proxy(bank_models: Path) -> None:
    with start(bank_models) as client:
        client.app.root_path = "/churn"  # type: ignore[attr-defined]
        assert client.post("/churn/predict", json=CUSTOMER).status_code == 200


def test_odd_names_and_gaps(odd_client: TestClient) -> None:
    whole = odd_client.post("/predict", json=ODD_CUSTOMER)
    assert whole.status_code == 200
    left_out = {key: value for key, value in ODD_CUSTOMER.items() if key != "größe in cm"}
    assert odd_client.post("/predict", json=left_out).json() == whole.json()
    known = odd_client.post("/predict", json=ODD_CUSTOMER | {"größe in cm": 180, "client no": "Ä-7"}).json()
    assert known["client no"] == "Ä-7"
    assert known["probability"] != whole.json()["probability"]
    document = assert_problem(
        odd_client.post("/predict", json=ODD_CUSTOMER | {"class": "A", "it's €?": "maybe", "größe in cm": 180.5}),
        422,
        "invalid-customers",
    )
    assert [error["field"] for error in document["errors"]] == ["class", "größe in cm", "it's €?"]
    assert 'd"e' in document["errors"][0]["allowed"]
    assert document["errors"][1]["allowed"].endswith("or null")


def test_names_with_quotes(tmp_path: Path) -> None:
    customer = {'say "hi"': 1, "back\\slash": 3}
    publish(tmp_path, QUOTED, customer)
    with start(tmp_path) as client:
        assert client.post("/predict", json=customer | {"CustomerId": 7}).json()["CustomerId"] == 7
        wrong = client.post("/predict", json=customer | {"back\\slash": 0.5})
        assert wrong.json()["errors"][0]["field"] == "back\\slash"


def test_health_and_model(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json() == {"status": "ready", "model_version": "1"}
    model = client.get("/model").json()
    assert model["version"] == "1"
    assert model["engine"] == "onnx"
    assert model["device"] == "CPU"
    assert model["threshold"] == 0.5
    assert model["schema"] == BANK.to_dict()
    assert model["schema"]["features"]["Age"]["minimum"] == 0
    assert model["data"]["sha256"] == "1" * 64
    assert model["metrics"] == {"test": {"log_loss": 0.34}}
    assert "keras" in model["libraries"]
