"""The README tells the truth: its answers are the shipped model's, its table has every setting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"-d '(\{.*\})'\n(\{.*\})\n", README)


def test_there_is_one_example_for_one_customer_and_one_for_many() -> None:
    assert ["customers" in json.loads(request) for request, _ in EXAMPLES] == [False, True]


@pytest.mark.parametrize(("request_body", "answer"), EXAMPLES)
def test_an_example_gets_the_answer_it_shows(request_body: str, answer: str) -> None:
    with TestClient(create_app(Settings(models=ROOT / "models", engine="onnx"))) as client:
        while client.get("/health/ready").status_code != 200:
            pass
        answered = client.post("/predict", content=request_body, headers={"content-type": "application/json"})
    found, shown = answered.json(), json.loads(answer)
    customers = zip(found.get("predictions", [found]), shown.get("predictions", [shown]), strict=True)
    for scored, expected in customers:
        # Another processor may add up in another order.
        assert scored["probability"] == pytest.approx(expected["probability"], abs=2e-6)
        assert {**scored, "probability": 0} == {**expected, "probability": 0}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        assert f"| `CHURN_{name.upper()}` | `{field.default}` |" in README


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
