"""`POST /counterfactuals` and `POST /sensitivity`."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER, publish
from problems import assert_problem
from running import read_metrics, start
from waiting import wait_until

from churn.feature import Feature
from churn.schema import Schema
from churn.share import is_chosen
from churn.whatif.steps import SLICE, Run
from service.api.whatif import CounterfactualAnswer, SensitivityAnswer
from service.whatif import endpoint
from training.histograms import count_features

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

MARKS: dict[str, Any] = {
    "Balance": {"actionable": "any"},
    "NumOfProducts": {"actionable": "any", "actionable_maximum": 3},
    "HasCrCard": {"actionable": "increase"},
    "IsActiveMember": {"actionable": "any"},
    "EstimatedSalary": {"actionable": "decrease", "actionable_minimum": 20_000},
    "Geography": {"actionable": "any"},
}
MARKED = replace(BANK, features=tuple(replace(f, **MARKS.get(f.name, {})) for f in BANK.features))


def draw_customers(count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    return [{feature.name: draw_value(feature, draw) for feature in BANK.features} for _ in range(count)]


def draw_value(feature: Feature, draw: np.random.Generator) -> Any:
    if feature.kind == "category":
        return str(draw.choice(feature.categories))
    if feature.kind == "flag":
        return int(draw.integers(0, 2))
    value = draw.uniform(feature.trained_minimum or 0, feature.trained_maximum or 0)
    return int(value) if feature.kind == "integer" else round(float(value), 2)


def publish_marked(root: Path, schema: Schema = MARKED) -> Path:
    rows = [[f.encode(c[f.name]) for f in BANK.features] for c in draw_customers(300, seed=1)]
    return publish(root, schema, CUSTOMER, histograms=count_features(schema, np.array(rows)))


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("marked")
    publish_marked(root)
    with start(root) as client:
        yield client


def predict(client: TestClient, customer: dict[str, Any]) -> Any:
    return client.post("/predict", json=customer).json()


@pytest.mark.parametrize("query", ["", "?target=0.45", "?target=0.55", "?target=0"])
def test_every_proposal_is_allowed_and_scored_alike_by_predict(marked: TestClient, query: str) -> None:
    found = 0
    for customer in draw_customers(15, seed=2):
        answer = marked.post(f"/counterfactuals{query}", json=customer).json()
        CounterfactualAnswer.model_validate(answer)
        target = answer["target"]
        assert target == float(query.partition("=")[2] or 0.5)
        assert answer["prediction"] == predict(marked, customer)
        assert (answer["goal"] == "at most") == (answer["prediction"]["probability"] > target)
        assert bool(answer["counterfactuals"]) != ("reason" in answer)
        for one in answer["counterfactuals"]:
            changes = {change["field"]: change["to"] for change in one["changes"]}
            for change in one["changes"]:
                assert_allowed(MARKED[change["field"]], change, customer)
            again = predict(marked, customer | changes)
            assert {key: again[key] for key in ("probability", "churn")} == {
                key: one[key] for key in ("probability", "churn")
            }
            assert "warnings" not in again
            reached = again["probability"] <= target
            assert reached == (answer["goal"] == "at most")
            found += 1
    assert found or query == "?target=0"


def assert_allowed(feature: Feature, change: dict[str, Any], customer: dict[str, Any]) -> None:
    assert feature.actionable
    assert change["from"] == customer[feature.name]
    own, new = feature.encode(change["from"]), feature.encode(change["to"])
    assert new != own
    assert feature.actionable == "any" or (new > own) == (feature.actionable == "increase")
    if feature.is_quantity:
        lows = (feature.trained_minimum, feature.actionable_minimum)
        highs = (feature.trained_maximum, feature.actionable_maximum)
        assert all(low is None or new >= low for low in lows)
        assert all(high is None or new <= high for high in highs)
    if feature.kind == "number":
        assert new % 100 == 0


def test_a_model_without_marks_proposes_nothing_and_says_why(client: TestClient) -> None:
    response = client.post("/counterfactuals", json=CUSTOMER)
    assert response.status_code == 200
    answer = response.json()
    assert answer["counterfactuals"] == []
    assert answer["reason"] == "the schema of the model marks no field as actionable"
    assert answer["prediction"] == predict(client, CUSTOMER)


def test_answers_repeat_and_name_the_customer(marked: TestClient) -> None:
    customer = draw_customers(1, seed=3)[0] | {"CustomerId": "c-1"}
    first, second = (marked.post("/counterfactuals", json=customer).content for _ in range(2))
    assert first == second
    assert b'"CustomerId":"c-1"' in first


def test_a_lenient_body_is_read_like_that_of_predict(marked: TestClient) -> None:
    customer = draw_customers(1, seed=3)[0]
    texts = {name: str(value) for name, value in customer.items()} | {"Surname": "x"}
    for path in ("/counterfactuals", "/sensitivity?fields=Age"):
        joint = "&" if "?" in path else "?"
        lenient = marked.post(f"{path}{joint}texts=parse&extra=ignore", json=texts)
        assert lenient.json() == marked.post(path, json=customer).json()
        assert_problem(marked.post(path, json=texts), 422, "invalid-customers")


@pytest.mark.parametrize("path", ["/counterfactuals", "/sensitivity?fields=Age"])
def test_a_wrong_body_is_refused_as_by_predict(marked: TestClient, path: str) -> None:
    assert_problem(marked.post(path, content=b"{", headers={"content-type": "application/json"}), 400, "malformed-json")
    problem = assert_problem(marked.post(path, content=b"a", headers={"content-type": "text/csv"}), 415,
                             "unsupported-media-type")  # fmt: skip
    assert problem["detail"] == "the content type is 'text/csv'; allowed: 'application/json'"
    problem = assert_problem(marked.post(path, json={"customers": [CUSTOMER]}), 422, "invalid-customers")
    assert "customers is not accepted here; allowed: one customer as an object" in problem["detail"]
    problem = assert_problem(marked.post(path, json=CUSTOMER | {"Age": -1}), 422, "invalid-customers")
    assert problem["errors"][0]["field"] == "Age"
    assert marked.get(path).status_code == 405


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/counterfactuals?target=1", "target is '1'; allowed: a number from 0 to below 1"),
        ("/counterfactuals?target=-0.1", "target is '-0.1'"),
        ("/counterfactuals?target=nan", "target is 'nan'"),
        ("/counterfactuals?target=", "target is ''"),
        ("/counterfactuals?target=0.1&target=0.2", "target is '0.1&0.2'; allowed: one value"),
        ("/counterfactuals?extra=perhaps", "extra is 'perhaps'; allowed: refuse or ignore"),
        ("/sensitivity", "fields is ''; allowed: one or several of CreditScore, Geography"),
        ("/sensitivity?fields=", "fields is ''; allowed: one or several of CreditScore"),
        ("/sensitivity?fields=Age,age", "fields is 'age'; allowed: one or several of CreditScore"),
        ("/sensitivity?fields=CustomerId", "fields is 'CustomerId'"),
        ("/sensitivity?fields=Age&points=1", "points is '1'; allowed: a whole number from 2 to 101"),
        ("/sensitivity?fields=Age&points=102", "points is '102'"),
        ("/sensitivity?fields=Age&points=3.5", "points is '3.5'"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(marked: TestClient, path: str, says: str) -> None:
    problem = assert_problem(marked.post(path, json=CUSTOMER), 400, "invalid-parameter")
    assert says in problem["detail"]


def test_too_many_fields_are_refused(tmp_path: Path) -> None:
    schema = Schema(tuple(Feature(f"f{i}", "flag") for i in range(21)), "left")
    customer = dict.fromkeys(schema.names, 1)
    publish(tmp_path, schema, customer)
    with start(tmp_path) as client:
        problem = client.post(f"/sensitivity?fields={','.join(schema.names)}", json=customer)
        assert "21 fields" in assert_problem(problem, 400, "invalid-parameter")["detail"]
        answer = client.post(f"/sensitivity?fields={','.join(schema.names[:20])}", json=customer).json()
        assert [curve["field"] for curve in answer["curves"]] == list(schema.names[:20])


def test_a_negative_zero_is_zero(marked: TestClient) -> None:
    answer = marked.post("/counterfactuals?target=-0", json=CUSTOMER)
    assert '"target":0.0,' in answer.text
    assert "-0" not in answer.json().get("reason", "")


@pytest.mark.parametrize("path", ["/counterfactuals", "/sensitivity"])
def test_every_parameter_that_relaxes_the_validation_is_described(path: str, marked: TestClient) -> None:
    operation = marked.get("/openapi.json").json()["paths"][path]["post"]
    assert {"extra", "texts", "decimal"} <= {parameter["name"] for parameter in operation["parameters"]}


def test_a_curve_is_what_predict_answers_along_the_field(marked: TestClient) -> None:
    response = marked.post("/sensitivity?fields=Age,Geography&fields=Balance&points=12", json=CUSTOMER)
    answer = response.json()
    SensitivityAnswer.model_validate(answer)
    assert answer["prediction"] == predict(marked, CUSTOMER)
    assert answer["threshold"] == 0.5
    assert [curve["field"] for curve in answer["curves"]] == ["Age", "Geography", "Balance"]
    for curve in answer["curves"]:
        assert 3 <= len(curve["values"]) <= 12
        assert curve["values"][curve["own"]] == CUSTOMER[curve["field"]]
        assert curve["probabilities"][curve["own"]] == answer["prediction"]["probability"]
        assert "missing" not in curve
        changed = [CUSTOMER | {curve["field"]: value} for value in curve["values"]]
        scored = [
            one["probability"] for one in marked.post("/predict", json={"customers": changed}).json()["predictions"]
        ]
        assert curve["probabilities"] == pytest.approx(scored, abs=1.5e-6)


def test_a_nullable_field_has_the_probability_of_a_gap(odd_client: TestClient) -> None:
    name = "größe in cm"
    (curve,) = odd_client.post("/sensitivity", params={"fields": name}, json=ODD_CUSTOMER).json()["curves"]
    assert curve["own"] is None
    assert curve["missing"] == predict(odd_client, ODD_CUSTOMER)["probability"]
    everything = odd_client.post("/sensitivity", params={"fields": list(ODD.names)}, json=ODD_CUSTOMER).json()
    assert [curve["field"] for curve in everything["curves"]] == list(ODD.names)


def test_a_name_may_contain_commas(tmp_path: Path) -> None:
    schema = Schema((Feature("a,b", "flag"), Feature("a", "flag")), "left")
    publish(tmp_path, schema, {"a,b": 1, "a": 0})
    with start(tmp_path) as client:
        answer = client.post("/sensitivity", params={"fields": "a,b"}, json={"a,b": 1, "a": 0}).json()
        assert [curve["field"] for curve in answer["curves"]] == ["a,b"]


def test_a_customer_of_the_canary_is_answered_by_the_canary(tmp_path: Path) -> None:
    publish_marked(tmp_path)
    publish_marked(tmp_path, BANK)
    chosen = next(str(i) for i in range(1000) if is_chosen(str(i), 0.5))
    other = next(str(i) for i in range(1000) if not is_chosen(str(i), 0.5))
    (tmp_path / "current").write_text("1\n")
    with start(tmp_path, canary_version=2, canary_share=0.5) as client:
        wait_until(lambda: "canary" in client.get("/model").json())
        ask = lambda name, path: client.post(path, json=CUSTOMER | {"CustomerId": name}).json()  # noqa: E731
        for path in ("/counterfactuals", "/sensitivity?fields=Age"):
            assert ask(chosen, path)["prediction"] == ask(chosen, "/predict")
            assert ask(chosen, path)["prediction"]["model_version"] == "2"
            assert ask(other, path)["prediction"]["model_version"] == "1"
        assert "marks no field" in ask(chosen, "/counterfactuals")["reason"]
        assert "marks no field" not in ask(other, "/counterfactuals").get("reason", "")


def test_requests_and_evaluations_are_counted_and_customers_are_not(tmp_path: Path) -> None:
    publish_marked(tmp_path)
    with start(tmp_path) as client:
        evaluations = client.post("/counterfactuals", json=CUSTOMER).json()["evaluations"]
        points = client.post("/sensitivity?fields=Age", json=CUSTOMER).json()["evaluations"]
        client.post("/counterfactuals?target=2", json=CUSTOMER)
        metrics = read_metrics(client)
    assert points == 76
    assert metrics['churn_what_if_evaluations_total{route="/counterfactuals"}'] == evaluations
    assert metrics['churn_what_if_evaluations_total{route="/sensitivity"}'] == points
    outcomes = [metrics[f'churn_counterfactual_answers_total{{outcome="{outcome}"}}'] for outcome in ("found", "none")]
    assert sorted(outcomes) == [0, 1]
    for status in (200, 400):
        series = f'churn_requests_total{{method="POST",route="/counterfactuals",status="{status}"}}'
        assert metrics[series] == 1
    assert metrics['churn_request_duration_seconds_count{route="/sensitivity"}'] == 1
    assert metrics['churn_rejected_requests_total{reason="invalid-parameter"}'] == 1
    assert metrics['churn_customers_total{decision="churn"}'] == 0
    assert metrics["churn_score_count"] == 0
    assert metrics["churn_requests_in_flight"] == 0


def test_the_documents_examples_are_answered_and_its_fields_are_the_models(marked: TestClient) -> None:
    paths = marked.get("/openapi.json").json()["paths"]
    for path, query in (("/counterfactuals", {}), ("/sensitivity", {"fields": "Age"})):
        operation = paths[path]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert marked.post(path, params=query, json=example).status_code == 200
        assert {"400", "413", "415", "422", "503", "504"} < operation["responses"].keys()
    (fields,) = [one for one in paths["/sensitivity"]["post"]["parameters"] if one["name"] == "fields"]
    assert fields["schema"]["items"]["enum"] == list(MARKED.names)


class Brake:
    """Holds the first slice of a search until it is released."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.threads: list[str] = []
        self.sizes: list[int] = []
        advance = Run.advance

        def slowly(work: Run[Any]) -> bool:
            self.begun.set()
            assert self.released.wait(60)
            self.threads.append(threading.current_thread().name)
            before = work.evaluations
            ended = advance(work)
            self.sizes.append(work.evaluations - before)
            return ended

        patch.setattr(Run, "advance", slowly)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Brake:
    return Brake(monkeypatch)


def test_a_search_stays_off_the_event_loop_and_works_in_slices(marked: TestClient, brake: Brake) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(marked.post, "/counterfactuals?target=0.01", json=CUSTOMER)
        assert brake.begun.wait(60)
        assert predict(marked, CUSTOMER)["model_version"] == "1"  # while the search is held
        brake.released.set()
        answer = asked.result().json()
    assert all(name.startswith("scoring") for name in brake.threads)
    assert sum(brake.sizes) == answer["evaluations"]
    assert len(brake.sizes) > 5
    assert max(brake.sizes) < 2 * SLICE


def test_more_searches_than_allowed_are_refused(tmp_path: Path, brake: Brake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MAX_QUESTIONS", 1)
    publish_marked(tmp_path)
    with start(tmp_path) as marked, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(marked.post, "/counterfactuals", json=CUSTOMER)
        assert brake.begun.wait(60)
        refused = marked.post("/sensitivity?fields=Age", json=CUSTOMER)
        brake.released.set()
        assert asked.result().status_code == 200
        assert_problem(refused, 503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert marked.post("/sensitivity?fields=Age", json=CUSTOMER).status_code == 200


def test_a_search_ends_with_the_time_of_its_request(marked: TestClient, brake: Brake) -> None:
    response = marked.post("/counterfactuals", json=CUSTOMER, headers={"X-Request-Timeout": "0.05"})
    brake.released.set()
    assert_problem(response, 504, "deadline-exceeded")
    assert marked.post("/counterfactuals", json=CUSTOMER).status_code == 200


def test_a_body_beyond_a_limit_counts_for_that_limit(tmp_path: Path) -> None:
    publish_marked(tmp_path)
    with start(tmp_path, max_body_bytes=1000) as client:
        response = client.post("/counterfactuals", json={"padding": "x" * 1000})
        assert_problem(response, 413, "body-too-large")
        assert read_metrics(client)['churn_limited_requests_total{limit="max_body_bytes"}'] == 1


def test_repeated_fields_count_for_the_limit(marked: TestClient) -> None:
    query = "&".join(["fields=Age"] * 20)
    assert marked.post(f"/sensitivity?{query}", json=CUSTOMER).status_code == 200
    refused = marked.post(f"/sensitivity?{query}&fields=Age", json=CUSTOMER)
    assert "at most 20 in one request" in assert_problem(refused, 400, "invalid-parameter")["detail"]
