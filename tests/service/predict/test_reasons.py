"""`POST /predict?reasons=…` with JSON."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER, WIDE, publish
from problems import assert_problem
from running import read_metrics, start
from waiting import wait_until

from churn.columns import encode_columns
from churn.reasons.explainer import Explainer
from churn.reasons.rounding import round_points
from churn.reasons.strongest import ReasonWriter
from churn.registry import Registry
from churn.scorer import Scorer, load_scorer
from churn.share import is_chosen
from service.guard.request_body import RequestProcessor
from service.predict import reasoned
from service.predict.lazy_explainer import LazyExplainer
from service.predict.parts import PART_BYTES
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.testclient import TestClient

OTHER = CUSTOMER | {"Geography": "Germany", "Age": 51, "Balance": 125510.82, "HasCrCard": "no", "IsActiveMember": False}


def explain(scorer: Scorer, *customers: dict[str, Any]) -> tuple[list[dict[str, float]], float]:
    """Return the points of each field as they should be published, and the base."""
    raw = encode_columns(scorer.schema, {name: [one.get(name) for one in customers] for name in scorer.schema.names})
    explainer = Explainer(scorer)
    points, base = round_points(explainer.explain(raw).points, scorer.score_raw(raw), explainer.base)
    return [dict(zip(scorer.schema.names, row, strict=True)) for row in points.tolist()], base


def points_of(prediction: dict[str, Any]) -> dict[str, float]:
    return {reason["field"]: reason["points"] for reason in prediction["reasons"]}


@pytest.fixture(scope="module")
def scorer(bank_models: Path) -> Scorer:
    return load_scorer(bank_models / "1", "onnx")


def test_the_strongest_reasons_stand_beside_the_prediction(client: TestClient, scorer: Scorer) -> None:
    plain = client.post("/predict", json=OTHER).json()
    answer = client.post("/predict?reasons=4", json=OTHER).json()
    (expected,), base = explain(scorer, OTHER)
    strongest = sorted(expected, key=lambda name: -abs(expected[name]))[:4]
    assert list(answer) == [*plain, "base", "reasons"]
    assert {name: answer[name] for name in plain} == plain
    assert answer["base"] == base
    assert points_of(answer) == {name: expected[name] for name in strongest}
    assert [reason["field"] for reason in answer["reasons"]] == strongest
    for reason in answer["reasons"]:
        assert list(reason) == ["field", "value", "points", "sentence"]
        assert reason["value"] == OTHER[reason["field"]]
        assert type(reason["value"]) is type(OTHER[reason["field"]])


def test_all_lists_every_field_and_they_add_up_to_the_probability(client: TestClient) -> None:
    answer = client.post("/predict?reasons=all", json=OTHER).json()
    assert sorted(points_of(answer)) == sorted(BANK.names)
    assert round(answer["base"] + sum(points_of(answer).values()), 6) == answer["probability"]
    sentences = {reason["field"]: reason["sentence"].partition(":")[0] for reason in answer["reasons"]}
    assert sentences["Balance"] == "Balance of 125,510.82"
    assert sentences["Age"] == "Age of 51 years"
    assert sentences["HasCrCard"] == "HasCrCard (no)"
    assert sentences["Geography"] == "Geography (Germany)"
    assert sentences["CreditScore"] == "The bank's rating of the customer (619 points)"


def test_several_customers_have_the_reasons_of_each_alone(client: TestClient) -> None:
    customers = [OTHER | {"CustomerId": 7}, CUSTOMER | {"Age": 120}, CUSTOMER]
    plain = client.post("/predict", json={"customers": customers}).json()
    answer = client.post("/predict?reasons=3", json={"customers": customers}).json()
    assert list(answer) == list(plain)
    assert answer["model_version"] == plain["model_version"]
    for customer, one, before in zip(customers, answer["predictions"], plain["predictions"], strict=True):
        assert list(one) == [*before, "base", "reasons"]
        assert {name: one[name] for name in before} == before
        alone = client.post("/predict?reasons=3", json=customer).json()
        assert {**alone, "model_version": None} == {**one, "model_version": None}
    assert client.post("/predict?reasons=3", json={"customers": []}).json() == {"predictions": [], "model_version": "1"}


def test_without_the_parameter_the_answer_has_the_same_bytes_as_ever(client: TestClient, tmp_path: Path) -> None:
    publish(tmp_path)
    with start(tmp_path) as old:
        for body in (OTHER, {"customers": [OTHER, CUSTOMER]}):
            plain = client.post("/predict", json=body).content
            assert plain == old.post("/predict", json=body).content
            assert plain == client.post("/predict?extra=refuse", json=body).content
            assert b"base" not in plain


def test_values_are_returned_as_they_were_sent(client: TestClient) -> None:
    sent = {**OTHER, "Balance": "125.510,82", "Age": " 51", "HasCrCard": "NO", "Note": "x" * 1000}
    answer = client.post("/predict?reasons=all&texts=parse&decimal=,&extra=ignore", json=sent).json()
    values = {reason["field"]: reason["value"] for reason in answer["reasons"]}
    assert values["Balance"] == "125.510,82"
    assert values["HasCrCard"] == "NO"
    plain = client.post("/predict?reasons=all", json=OTHER).json()
    assert [r["sentence"] for r in answer["reasons"]] == [r["sentence"] for r in plain["reasons"]]


def test_gaps_and_odd_names_are_worded(tmp_path: Path) -> None:
    publish(tmp_path, ODD, background=8)
    with start(tmp_path) as client:
        answer = client.post("/predict?reasons=all", json=ODD_CUSTOMER | {"client no": "c"}).json()
        assert answer["client no"] == "c"
        reasons = {reason["field"]: reason for reason in answer["reasons"]}
        assert reasons["größe in cm"]["value"] is None
        assert reasons["größe in cm"]["sentence"].startswith("größe in cm (unknown): ")
        assert reasons["class"]["sentence"].startswith("class (ü): ")
        assert reasons["_income"]["sentence"].startswith("_income of 12.5: ")


def test_an_identifier_called_base_keeps_its_name(tmp_path: Path) -> None:
    publish(tmp_path, replace(BANK, identifier="Base"), CUSTOMER, background=2)
    with start(tmp_path) as client:
        answer = client.post("/predict?reasons=1", json=CUSTOMER | {"Base": "b"}).json()
        assert answer["Base"] == "b"
        assert 0 < answer["predicted_base"] < 1
        assert "predicted_base" in client.get("/openapi.json").json()["components"]["schemas"]["Answer"]["properties"]


def test_estimates_have_their_standard_errors(tmp_path: Path) -> None:
    folder = publish(tmp_path, WIDE, dict.fromkeys(WIDE.names, 1.0), background=3)
    customer = {name: float(number) for number, name in enumerate(WIDE.names)}
    with start(tmp_path) as client:
        answer = client.post("/predict?reasons=5", json=customer).json()
        assert answer == client.post("/predict?reasons=5", json=customer).json()
    scorer = load_scorer(folder, "onnx")
    raw = np.array([list(customer.values())])
    errors = Explainer(scorer).explain(raw).errors
    assert errors is not None
    for reason in answer["reasons"]:
        assert reason["standard_error"] == round(errors[0, WIDE.names.index(reason["field"])], 6)
        assert "about" in reason["sentence"]


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "1&reasons=2"])
def test_what_is_no_number_of_reasons_is_refused(client: TestClient, value: str) -> None:
    for body in (OTHER, {"customers": [OTHER]}):
        problem = assert_problem(client.post(f"/predict?reasons={value}", json=body), 400, "invalid-parameter")
        assert "allowed: a whole number from 1 to 9999, or all" in problem["detail"]


def test_invalid_customers_are_refused_as_without_reasons(client: TestClient) -> None:
    body = CUSTOMER | {"Age": -1}
    assert client.post("/predict?reasons=2", json=body).json() == client.post("/predict", json=body).json()
    assert_problem(client.post("/predict?reasons=2", content=b"{", headers={"content-type": "application/json"}), 400,
                   "malformed-json")  # fmt: skip


def test_more_customers_than_the_limit_are_refused(bank_models: Path) -> None:
    with start(bank_models, max_reasoned=2) as client:
        assert client.post("/predict?reasons=1", json={"customers": [OTHER] * 2}).status_code == 200
        response = client.post("/predict?reasons=1", json={"customers": [OTHER] * 3})
        problem = assert_problem(response, 413, "too-many-customers")
        assert "2 customers in one request (CHURN_MAX_REASONED)" in problem["detail"]
        assert client.post("/predict", json={"customers": [OTHER] * 3}).status_code == 200


def test_a_model_without_a_background_scores_and_says_retrain(tmp_path: Path) -> None:
    publish(tmp_path)
    with start(tmp_path) as client:
        bodies: tuple[dict[str, Any], ...] = (OTHER, {"customers": []})
        for body in bodies:
            problem = assert_problem(client.post("/predict?reasons=2", json=body), 409, "no-background")
            assert "retrain" in problem["detail"]
            assert "version 1" in problem["detail"]
            assert client.post("/predict", json=body).status_code == 200
        assert read_metrics(client)['churn_rejected_requests_total{reason="no-background"}'] == 2


def test_a_network_that_cannot_be_explained_says_why(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_scorer: Scorer) -> Explainer:
        raise ValueError("a budget of 1 evaluation is too small")

    monkeypatch.setattr("service.predict.lazy_explainer.Explainer", refuse)
    with start(bank_models) as client:
        problem = assert_problem(client.post("/predict?reasons=2", json=OTHER), 409, "no-reasons")
        assert "a budget of 1 evaluation is too small" in problem["detail"]


def test_a_request_whose_time_is_over_is_not_explained_further(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = []
    write = ReasonWriter.write

    def write_late(self: Any, *arguments: Any) -> Any:
        explained.append(1)
        monkeypatch.setattr("service.guard.deadline.perf_counter", lambda: float("inf"))
        return write(self, *arguments)

    with start(bank_models) as client:
        monkeypatch.setattr(ReasonWriter, "write", write_late)
        response = client.post("/predict?reasons=1", json={"customers": [OTHER] * 5})
        assert_problem(response, 504, "deadline-exceeded")
        monkeypatch.undo()
        metrics = read_metrics(client)
    assert len(explained) == 1
    assert metrics["churn_reasons_dropped_customers_total"] == 1
    assert metrics["churn_reasoned_customers_total"] == 0
    assert metrics["churn_reasons_duration_seconds_count"] == 1
    assert metrics["churn_reasons_evaluations_total"] > 0


def test_more_requests_in_progress_than_may_be_are_asked_to_try_again(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    write = ReasonWriter.write

    def wait(self: Any, *arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return write(self, *arguments)

    monkeypatch.setattr(ReasonWriter, "write", wait)
    monkeypatch.setattr("service.guard.request_body.MAX_STEPWISE", 1)
    answers = []
    with start(bank_models) as client:
        first = threading.Thread(target=lambda: answers.append(client.post("/predict?reasons=1", json=OTHER)))
        first.start()
        assert begun.wait(60)
        refused = client.post("/predict?reasons=1", json=OTHER)
        plain = client.post("/predict", json=OTHER)
        go_on.set()
        first.join()
        problem = assert_problem(refused, 503, "overloaded")
        assert problem["detail"].startswith("too many requests with reasons are in progress: at most 1,")
        assert refused.headers["retry-after"] == "1"
        assert plain.status_code == 200
        assert answers[0].status_code == 200
        assert client.post("/predict?reasons=1", json=OTHER).status_code == 200


def test_each_customer_has_the_reasons_of_the_model_that_scored_it(tmp_path: Path) -> None:
    publish(tmp_path, background=4)
    publish(tmp_path, background=5, seed=8)
    Registry(tmp_path).promote(1)
    scorers = [load_scorer(tmp_path / version, "onnx") for version in ("1", "2")]
    customers = [OTHER | {"CustomerId": name} for name in range(12)]
    chosen = [is_chosen(name, 0.4) for name in range(12)]
    assert any(chosen) and not all(chosen)  # noqa: PT018
    with start(tmp_path, canary_version=2, canary_share=0.4) as client:
        wait_until(lambda: "canary" in client.get("/model").json())
        plain = client.post("/predict", json={"customers": customers}).json()
        answer = client.post("/predict?reasons=all", json={"customers": customers}).json()
        for customer, one, before, is_canary in zip(
            customers, answer["predictions"], plain["predictions"], chosen, strict=True
        ):
            (expected,), base = explain(scorers[is_canary], OTHER)
            assert points_of(one) == expected
            assert one["base"] == base
            assert {name: one[name] for name in before} == before
            alone = client.post("/predict?reasons=all", json=customer).json()
            assert alone["model_version"] == ("2" if is_canary else "1")
            assert alone["reasons"] == one["reasons"]
        only = [customer for customer, is_canary in zip(customers, chosen, strict=True) if is_canary]
        answer = client.post("/predict?reasons=1", json={"customers": only}).json()
        assert answer["model_version"] == "2"
        assert all("model_version" not in one for one in answer["predictions"])


def test_requests_seconds_customers_and_evaluations_are_counted(bank_models: Path, scorer: Scorer) -> None:
    with start(bank_models) as client:
        for body in (OTHER, {"customers": [OTHER, CUSTOMER]}, CUSTOMER):
            assert client.post("/predict?reasons=1", json=body).status_code == 200
        client.post("/predict", json=OTHER)
        metrics = read_metrics(client)
    raw = encode_columns(
        BANK, {name: [OTHER[name], OTHER[name], CUSTOMER[name], CUSTOMER[name]] for name in BANK.names}
    )
    assert metrics["churn_reasons_duration_seconds_count"] == 3
    assert metrics["churn_reasons_duration_seconds_sum"] > 0
    assert metrics["churn_reasoned_customers_total"] == 4
    assert metrics["churn_reasons_evaluations_total"] == Explainer(scorer).explain(raw).evaluations
    assert metrics['churn_request_duration_seconds_count{route="/predict, reasons"}'] == 3
    assert metrics['churn_request_duration_seconds_count{route="/predict"}'] == 1
    assert metrics['churn_requests_total{method="POST",route="/predict",status="200"}'] == 4
    assert metrics['churn_customers_total{decision="churn"}'] + metrics['churn_customers_total{decision="stay"}'] == 5
    assert metrics["churn_requests_in_flight"] == 0


def test_the_explainer_is_made_when_it_is_asked_for_and_goes_with_its_model(tmp_path: Path) -> None:
    for _ in range(2):
        publish(tmp_path, background=3)
    Registry(tmp_path).promote(1)
    with start(tmp_path, admin=True) as client:
        state = client.app.model_state  # type: ignore[attr-defined]
        client.post("/predict", json=OTHER)
        assert state.model.explainer._explainer is None
        client.post("/predict?reasons=1", json=OTHER)
        client.post("/predict?reasons=2", json={"customers": [OTHER]})
        first = weakref.ref(state.model.explainer.open())
        assert state.model.explainer.open() is first()
        assert client.post("/admin/models/2/promote").status_code == 200
        assert client.post("/predict?reasons=1", json=OTHER).json()["model_version"] == "2"

        def is_released() -> bool:
            gc.collect()
            return first() is None

        wait_until(is_released)


def test_a_model_that_was_replaced_meanwhile_has_its_reasons(tmp_path: Path) -> None:
    folder = publish(tmp_path, background=3)
    explainer = LazyExplainer(load_scorer(folder, "onnx"))
    (folder / "model.onnx").unlink()
    assert explainer.open().exact


def test_reasons_are_computed_in_the_thread(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    write = ReasonWriter.write

    def watch(self: Any, *arguments: Any) -> Any:
        threads.append((threading.current_thread().name, len(arguments[0])))
        return write(self, *arguments)

    monkeypatch.setattr(ReasonWriter, "write", watch)
    with start(bank_models) as client:
        client.post("/predict?reasons=1", json={"customers": [OTHER] * 3})
    assert threads == [("scoring_0", 1)] * 3


def test_the_thread_is_entered_once_for_each_customer(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []
    run = RequestProcessor.run

    async def count(self: RequestProcessor, work: Callable[..., Any], *arguments: object) -> Any:
        entered.append(work)
        return await run(self, work, *arguments)

    monkeypatch.setattr(RequestProcessor, "run", count)
    with start(bank_models) as client:
        entered.clear()
        assert client.post("/predict?reasons=2", json=CUSTOMER).status_code == 200
        assert len(entered) == 1
        assert client.post("/predict?reasons=2", json={"customers": [CUSTOMER] * 3}).status_code == 200
        assert len(entered) == 4


def test_the_document_shows_them(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    answer = client.post("/predict?reasons=2", json=OTHER).json()
    properties = document["components"]["schemas"]["Answer"]["properties"]
    assert set(answer) <= set(properties)
    assert set(answer["reasons"][0]) <= set(document["components"]["schemas"]["Reason"]["properties"])
    names = [parameter["name"] for parameter in document["paths"]["/predict"]["post"]["parameters"]]
    assert "reasons" in names


def test_the_default_limit_is_stated() -> None:
    assert json.loads(Settings().model_dump_json())["max_reasoned"] == 1000


@pytest.mark.parametrize("text", ["x" * 3000, "x" * 2000 + "}, {"])
def test_a_large_list_is_decoded_in_parts_unless_they_are_divided_in_a_string(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    sizes = []
    decode = reasoned.parse_json

    def watch(body: bytes) -> Any:
        sizes.append(len(body))
        return decode(body)

    monkeypatch.setattr(reasoned, "parse_json", watch)
    customers = [OTHER | {"Age": 18 + number % 60, "note": text} for number in range(300)]
    with start(bank_models) as client:
        found = client.post("/predict?reasons=all&extra=ignore", json={"customers": customers}).json()["predictions"]
        alone = client.post("/predict?reasons=all&extra=ignore", json=customers[299]).json()
    assert found[299]["reasons"] == alone["reasons"]
    assert [one["reasons"][0] for one in found].count(None) == 0
    is_divided = "}" not in text
    assert (max(sizes) <= 2 * PART_BYTES + 2) == is_divided
