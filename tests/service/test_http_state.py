"""The life of the model: loading, ready, draining, failed."""

from __future__ import annotations

import asyncio
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, cover, publish
from running import read_metrics, start
from starlette.testclient import TestClient
from tampering import forge_manifest
from waiting import DEADLINE, wait_until

import service.rollout.loading
from churn.registry import Registry
from service.app import create_app
from service.rollout.messages import Lineup, Staged
from service.settings import Settings, find_unknown_variables

if TYPE_CHECKING:
    from pathlib import Path


def assert_not_ready(client: TestClient, reason: str) -> None:
    assert client.get("/health/live").status_code == 200
    for answer in (
        client.get("/health/ready"),
        client.get("/model"),
        client.get("/openapi.json"),
        client.post("/predict", json=CUSTOMER),
    ):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert reason in answer.json()["detail"]


def test_while_it_loads_it_lives_but_is_not_ready(bank_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_load = threading.Event()
    load = service.rollout.loading.load_scorer

    def wait_and_load(*arguments: Any) -> Any:
        assert may_load.wait(DEADLINE)
        return load(*arguments)

    monkeypatch.setattr(service.rollout.loading, "load_scorer", wait_and_load)
    with TestClient(create_app(Settings(models=bank_models, engine="onnx"))) as client:
        assert_not_ready(client, "the model is being loaded")
        assert read_metrics(client)["churn_ready_workers"] == 0
        may_load.set()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        metrics = read_metrics(client)
        assert metrics["churn_ready_workers"] == 1
        assert metrics['churn_model_loads_total{outcome="ok"}'] == 1
        assert metrics['churn_model_info{device="CPU",engine="onnx",version="1"}'] == 1


@pytest.mark.parametrize("name", ["model.onnx", "model.keras", "preprocessor.joblib", "report.html", "manifest.json"])
def test_a_flipped_byte_in_any_file_is_named(
    bank_models: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "models"
    shutil.copytree(bank_models, root)
    path = root / "1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with TestClient(create_app(Settings(models=root, engine="onnx"))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert_not_ready(client, f"1/{name}: SHA-256 differs")
        assert read_metrics(client)['churn_model_loads_total{outcome="failed"}'] == 1
    assert f"1/{name}: SHA-256 differs" in caplog.text


def test_a_golden_row_that_scores_otherwise_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, golden=[{"customer": each, "probability": 0.9} for each in cover(BANK, CUSTOMER)])
    with TestClient(create_app(Settings(models=tmp_path, engine="onnx"))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert_not_ready(client, "golden row 0 scores 0.5")


def test_no_model_at_all_is_said(tmp_path: Path) -> None:
    with TestClient(create_app(Settings(models=tmp_path / "none"))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert_not_ready(client, "no version is current")


def test_what_nobody_foresaw_is_logged_but_not_told(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret 42")

    monkeypatch.setattr(service.rollout.loading, "load_scorer", fail)
    with TestClient(create_app(Settings(models=bank_models))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert_not_ready(client, "RuntimeError: see the log")
    assert "secret 42" in caplog.text


def test_an_identifier_that_clashes_with_the_answer_is_refused(tmp_path: Path) -> None:
    forge_manifest(publish(tmp_path), lambda content: content["schema"].update(identifier="probability"))
    with TestClient(create_app(Settings(models=tmp_path, engine="onnx"))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert_not_ready(client, "the identifier can't be named 'probability': the service uses this name")


def test_draining_it_is_not_ready_but_still_scores(bank_models: Path) -> None:
    with start(bank_models) as client:
        client.app.model_state.drain()  # type: ignore[attr-defined]
        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert "shutting down" in answer.json()["detail"]
        assert client.get("/health/live").status_code == 200
        assert client.post("/predict", json=CUSTOMER).status_code == 200


def test_told_to_stop_while_loading_it_never_gets_ready(bank_models: Path) -> None:
    app: Any = create_app(Settings(models=bank_models, engine="onnx"))
    app.model_state.drain()
    lineup = Lineup(Staged(1, "0" * 64, str(bank_models / "1")))
    asyncio.run(app.models.start(lineup))
    assert app.model_state.model is None
    assert app.model_state.phase == "draining"


def test_a_request_keeps_the_model_it_began_with(bank_models: Path, tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    with start(bank_models) as client, start(tmp_path) as other:
        state, new = client.app.model_state, other.app.model_state.model  # type: ignore[attr-defined]
        assert client.post("/predict", json=CUSTOMER).json()["model_version"] == "1"
        state.model = new
        assert client.post("/predict", json=CUSTOMER).json()["model_version"] == "2"


def test_a_version_can_be_pinned(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path)
    assert Registry(tmp_path).current() == 2
    for version, served in (("current", "2"), (1, "1")):
        with start(tmp_path, model_version=version) as client:
            assert client.get("/model").json()["version"] == served


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_MAX_CUSTOMERS", "7")
    monkeypatch.setenv("CHURN_MODEL_VERSION", "3")
    assert Settings().max_customers == 7
    assert Settings().model_version == 3
    monkeypatch.setenv("CHURN_MAX_CUSTOMERS", "0")
    with pytest.raises(ValueError, match="max_customers"):
        Settings()


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="a body of that size could never"):
        Settings(max_pending_bytes=1)


def test_a_misspelt_variable_is_named(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_unknown_variables(["CHURN_MODELS", "churn_engine", "CHURN_MODLES", "OTHER"]) == ["CHURN_MODLES"]
    monkeypatch.setenv("CHURN_MODLES", "x")
    with start(bank_models):
        pass
    assert "CHURN_MODLES" in caplog.text
