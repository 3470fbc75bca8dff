"""The evaluation of the served model over HTTP: numbers, report and card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bundles
import pytest
from bank import REPOSITORY
from running import start

from churn.bundle import MODEL_CARD_FILE, REPORT_FILE, read_bundle
from churn.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

EVALUATION = {
    "part": "test", "customers": 10, "leavers": 4, "caveat": "",
    "scores": {"roc_auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
    "costs": {"customer_value": 200.0, "offer_cost": 10.0, "contact_cost": 1.0, "accept_rate": 0.3},
    "thresholds": [{"threshold": 0.5, "contacted": 3, "leavers": 2}],
}  # fmt: skip


def test_the_numbers_are_those_of_the_manifest(tmp_path: Path) -> None:
    bundles.publish(tmp_path, evaluation=EVALUATION)
    with start(tmp_path) as client:
        found = client.get("/model/evaluation").json()
    assert found["version"] == "1"
    assert found["evaluation"] == EVALUATION
    assert len(found["score_histogram"]["counts"]) == len(found["score_histogram"]["edges"]) + 1


def test_a_version_of_an_older_program_has_a_histogram_only(client: TestClient) -> None:
    found = client.get("/model/evaluation").json()
    assert found.keys() == {"version", "threshold", "score_histogram"}


def test_the_documents_are_those_of_the_version_and_can_do_nothing() -> None:
    folder = REPOSITORY / "models" / "1"
    with start(REPOSITORY / "models") as client:
        report, card = client.get("/model/report"), client.get("/model/card")
    assert report.content == (folder / REPORT_FILE).read_bytes()
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    assert report.headers["content-security-policy"].endswith("sandbox")
    assert card.content == (folder / MODEL_CARD_FILE).read_bytes()
    assert card.headers["content-type"] == "text/markdown; charset=utf-8"


def test_a_version_without_a_card_says_so(client: TestClient) -> None:
    answer = client.get("/model/card")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "model version 1 has no model_card.md"
    assert client.get("/model/report").status_code == 200


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("customers", -1),
        ("scores", {"roc_auc": {"value": "high", "low": 0, "high": 1}}),
        ("thresholds", [{"threshold": 2, "contacted": 1, "leavers": 1}]),
        ("costs", {"customer_value": 1}),
    ],
)
def test_an_evaluation_that_is_none_is_refused(tmp_path: Path, name: str, entry: object) -> None:
    folder = bundles.publish(tmp_path, evaluation=EVALUATION | {name: entry})
    with pytest.raises(BundleError, match=f"evaluation.*{name}"):
        read_bundle(folder)
