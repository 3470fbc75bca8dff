"""A service in this process that changes its model while it runs."""

from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, ODD, ODD_CUSTOMER, cover, publish
from running import read_metrics, start
from starlette.requests import Request
from starlette.testclient import TestClient
from tampering import flip_byte, forge_manifest
from waiting import DEADLINE, wait_until

import service.rollout.loading
from churn.registry import Registry
from service.api import small_body
from service.api.small_body import BodyLimits
from service.app import create_app
from service.errors import Problem
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def client(models: Path) -> Iterator[TestClient]:
    with start(models, admin=True) as client:
        yield client


def version_of(client: TestClient) -> str:
    version: str = client.get("/model").json()["version"]
    return version


def last_change(client: TestClient) -> dict[str, Any]:
    change: dict[str, Any] = client.get("/model").json().get("last_change", {})
    return change


def test_a_promotion_reaches_every_route(client: TestClient, models: Path) -> None:
    assert last_change(client) == {}
    publish(models, threshold=0.25)
    wait_until(lambda: version_of(client) == "2")
    assert client.post("/predict", json=CUSTOMER).json()["model_version"] == "2"
    assert client.get("/model").json()["threshold"] == 0.25
    assert client.get("/health/ready").json()["model_version"] == "2"
    assert client.get("/v2/models/churn").json()["versions"] == ["2"]
    assert client.get("/v2/models/churn/versions/1").status_code == 404
    change = last_change(client)
    assert change.pop("time")
    assert change == {"action": "current", "outcome": "switched", "version": "2"}
    metrics = read_metrics(client)
    assert metrics['churn_model_changes_total{outcome="switched"}'] == 1
    assert metrics['churn_model_info{device="CPU",engine="onnx",version="2"}'] == 1
    assert not [name for name in metrics if name.startswith("churn_model_info") and 'version="1"' in name]
    Registry(models).rollback()
    wait_until(lambda: version_of(client) == "1")


def test_another_schema_replaces_the_first(client: TestClient, models: Path) -> None:
    assert client.post("/predict", json=ODD_CUSTOMER).status_code == 422
    shares = {name for name in read_metrics(client) if name.startswith("churn_feature_bin_training_share")}
    publish(models, ODD)
    wait_until(lambda: version_of(client) == "2")
    assert client.post("/predict", json=ODD_CUSTOMER).json()["model_version"] == "2"
    assert client.post("/predict", json=CUSTOMER).status_code == 422
    assert "plain" in client.get("/openapi.json").text
    metrics = read_metrics(client)
    after = {name for name in metrics if name.startswith("churn_feature_bin_training_share")}
    assert after
    assert not after & shares
    for prefix in ("churn_score_bin_training_share", 'churn_feature_bin_training_share{bin="[', 'feature="plain"'):
        values = [value for name, value in metrics.items() if prefix in name and "training_share" in name]
        assert all(value >= 0 for value in values)
    assert (
        metrics['churn_version_customers_total{decision="stay",version="2"}']
        + metrics['churn_version_customers_total{decision="churn",version="2"}']
        == 1
    )


def test_a_request_that_is_being_scored_ends_with_its_model(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    model = client.app.model_state.model  # type: ignore[attr-defined]
    infer = model.scorer.infer

    def wait(matrix: Any) -> Any:
        begun.set()
        assert may_end.wait(DEADLINE)
        return infer(matrix)

    monkeypatch.setattr(model.scorer, "infer", wait)
    answers: list[Any] = []
    body = {"customers": [CUSTOMER] * 3000}  # large enough for the thread
    thread = threading.Thread(target=lambda: answers.append(client.post("/predict", json=body).json()))
    thread.start()
    assert begun.wait(DEADLINE)
    publish(models, ODD)
    wait_until(lambda: version_of(client) == "2")
    may_end.set()
    thread.join()
    assert answers[0]["model_version"] == "1"
    assert len(answers[0]["predictions"]) == 3000
    metrics = read_metrics(client)  # counted with the bins of the first model
    assert metrics['churn_feature_bin_total{bin="France",feature="Geography"}'] == 3000


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: flip_byte(folder / "model.onnx", 100), "2/model.onnx: SHA-256 differs"),
        (lambda folder: (folder / "model.keras").unlink(), "2/model.keras: is missing"),
        (shutil.rmtree, "version 2 does not exist; available: 1"),
        (lambda folder: forge_manifest(folder, lambda content: content.update(golden=[])), "golden: expected array"),
        (
            lambda folder: forge_manifest(folder, lambda content: content.pop("score_histogram")),
            "field score_histogram",
        ),
        (
            lambda folder: forge_manifest(folder, lambda content: content.pop("threshold")),
            "field threshold",
        ),
    ],
)
def test_a_version_that_fails_a_check_changes_nothing_but_what_is_told(
    client: TestClient, models: Path, damage: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = models / "2"
    publish(models.parent / "others")
    publish(models.parent / "others")
    (models.parent / "others" / "2").rename(folder)
    damage(folder)
    (models / "current").write_text("2\n")
    wait_until(lambda: last_change(client))
    assert last_change(client)["outcome"] == "failed"
    assert reason in last_change(client)["reason"]
    assert reason in caplog.text
    assert version_of(client) == "1"
    assert client.post("/predict", json=CUSTOMER).json()["model_version"] == "1"
    assert client.get("/health/ready").status_code == 200
    assert read_metrics(client)['churn_model_changes_total{outcome="failed"}'] == 1


def test_a_version_whose_golden_rows_score_otherwise_is_not_served(client: TestClient, models: Path) -> None:
    publish(models, golden=[{"customer": each, "probability": 0.9} for each in cover(BANK, CUSTOMER)])
    wait_until(lambda: last_change(client))
    assert f"{models}/2: golden row 0 scores" in last_change(client)["reason"]
    assert version_of(client) == "1"


def test_what_nobody_foresaw_is_logged_and_not_told(
    client: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret 42")

    monkeypatch.setattr(service.rollout.loading, "load_scorer", fail)
    publish(models)
    wait_until(lambda: last_change(client))
    assert last_change(client)["reason"] == "RuntimeError: see the log"
    assert "secret 42" in caplog.text


def test_a_service_that_could_load_nothing_serves_the_first_version_that_it_can(tmp_path: Path) -> None:
    models = tmp_path / "models"
    flip_byte(publish(models) / "model.onnx", 100)
    with TestClient(create_app(Settings(models=models, engine="onnx"))) as client:
        wait_until(lambda: "SHA-256" in client.get("/health/ready").text)
        publish(models)
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert version_of(client) == "2"


def test_admin_routes_are_off_by_default(models: Path) -> None:
    with start(models) as client:
        assert client.get("/admin/models").status_code == 404
        assert client.post("/admin/models/1/promote").status_code == 404


def test_a_version_is_promoted_and_rolled_back_over_http(client: TestClient, models: Path) -> None:
    shutil.copytree(models / "1", models / "2")
    forge_manifest(models / "2", lambda content: content.update(version=2))
    answer = client.post("/admin/models/2/promote")
    assert (answer.status_code, answer.json()["outcome"], answer.json()["version"]) == (200, "switched", "2")
    assert version_of(client) == "2"
    assert Registry(models).current() == 2
    assert client.get("/admin/models").json() == {
        "versions": ["1", "2"], "current": "2", "served": "2", "shadow": None, "canary": None, "canary_share": 0.0,
    }  # fmt: skip
    assert client.post("/admin/models/rollback").json()["version"] == "1"
    assert version_of(client) == "1"
    refused = client.post("/admin/models/rollback")
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert "no version was current before" in refused.json()["detail"]


def test_a_refused_promotion_does_not_become_current(client: TestClient, models: Path) -> None:
    publish(models)
    wait_until(lambda: version_of(client) == "2")
    flip_byte(models / "1" / "model.onnx", 100)
    for answer in (client.post("/admin/models/1/promote"), client.post("/admin/models/rollback")):
        assert answer.status_code == 409
        assert "1/model.onnx: SHA-256 differs" in answer.json()["detail"]
    assert Registry(models).current() == 2
    assert version_of(client) == "2"


def test_the_body_of_a_change_is_not_held_beyond_what_one_needs(client: TestClient) -> None:
    sent: list[int] = []
    size = Settings.model_fields["max_admin_bytes"].default

    def send() -> Iterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield b" " * 1000

    for method, path in (("PUT", "/admin/canary"), ("PUT", "/admin/shadow"), ("POST", "/admin/models/rollback")):
        answer = client.request(method, path, content=send(), headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == f"allowed here: {size} bytes (CHURN_MAX_ADMIN_BYTES)"
    assert read_metrics(client)['churn_limited_requests_total{limit="max_admin_bytes"}'] == 3
    assert read_metrics(client)['churn_rejected_requests_total{reason="body-too-large"}'] == 3
    assert client.put("/admin/shadow", content=b" " * (size - 13) + b'{"version":9}').status_code == 422
    padded = {"content": b" " * (size - 13) + b'{"version":9}', "headers": {"Content-Type": "application/json"}}
    assert "version 9 does not exist" in client.put("/admin/shadow", **padded).json()["detail"]


def test_the_body_of_a_change_that_does_not_arrive_is_not_waited_for() -> None:
    async def work() -> None:
        request = Request({"type": "http", "headers": []}, asyncio.Event().wait)  # type: ignore[arg-type]
        with pytest.raises(Problem) as refused:
            await small_body._read(request, BodyLimits(10, 0.01, lambda _: None))
        assert refused.value.status == 408
        assert refused.value.limit == "body_seconds"

    asyncio.run(work())


@pytest.mark.parametrize(
    "version",
    ["0", "-1", "x", "1.5", "1.0", "+1", "01", "1_0", "%201", "1e0", "٣", "%2e%2e", "1%00", "1" + 15 * "0", "9" * 5000],
)  # fmt: skip
def test_a_version_that_is_not_written_as_its_folder_is_a_problem(client: TestClient, version: str) -> None:
    answer = client.post(f"/admin/models/{version}/promote")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("path.version: ")


@pytest.mark.parametrize(
    "version", ["true", '"01"', '"1_0"', '" 1"', "1.0", "1e0", "0", "-1", "1" + 15 * "0", "9" * 4000, '"../1"']
)
def test_a_version_in_a_body_is_a_whole_number(client: TestClient, version: str) -> None:
    headers = {"Content-Type": "application/json"}
    for path, rest in (("/admin/shadow", ""), ("/admin/canary", ', "share": 0.5')):
        answer = client.put(path, content=f'{{"version": {version}{rest}}}', headers=headers)
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("body.version: ")
        assert len(answer.content) < 500


@pytest.mark.parametrize("share", ["true", '"0.5"', "NaN", "1.5", "-1", "null"])
def test_the_share_of_a_canary_is_a_number_from_0_to_1(client: TestClient, share: str) -> None:
    content = f'{{"version": 1, "share": {share}}}'
    answer = client.put("/admin/canary", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("body.share: ")


def test_the_objects_of_a_replaced_model_are_released(client: TestClient, models: Path) -> None:
    publish(models)
    wait_until(lambda: version_of(client) == "2")
    client.post("/predict", json=CUSTOMER)
    scorer = weakref.ref(client.app.model_state.model.scorer)  # type: ignore[attr-defined]
    publish(models)
    wait_until(lambda: version_of(client) == "3")
    client.post("/predict", json=CUSTOMER)
    read_metrics(client)

    def is_gone() -> bool:
        gc.collect()
        return scorer() is None

    wait_until(is_gone)
