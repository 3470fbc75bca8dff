"""README, docs/getting-started.md and docs/http.md: their commands run, their responses and figures are true."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from bank import REPOSITORY
from starlette.testclient import TestClient
from waiting import wait_until

from cli.main import churn
from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
START = (REPOSITORY / "docs" / "getting-started.md").read_text(encoding="utf-8")
HTTP = (REPOSITORY / "docs" / "http.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"-d '(\{[^']*\})'\n(?:```\n```json\n)?(\{.*\})\n", README + START + HTTP)
ROWS = re.findall(r"^\| .* \|$", README, re.MULTILINE)[1:]
"""Of the table of figures, without its head."""


def test_there_are_examples_for_one_customer_and_for_many() -> None:
    assert ["customers" in json.loads(request) for request, _ in EXAMPLES] == [False, False, True, False]


@pytest.fixture(scope="module")
def client() -> Any:
    with TestClient(create_app(Settings(models=REPOSITORY / "models", engine="onnx"))) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        yield client


@pytest.mark.parametrize(("request_body", "answer"), EXAMPLES)
def test_an_example_gets_the_answer_it_shows(client: TestClient, request_body: str, answer: str) -> None:
    answered = client.post("/predict", content=request_body, headers={"content-type": "application/json"})
    found, shown = answered.json(), json.loads(answer)
    customers = zip(found.get("predictions", [found]), shown.get("predictions", [shown]), strict=True)
    for scored, expected in customers:
        # Another processor may add up in another order.
        assert scored["probability"] == pytest.approx(expected["probability"], abs=2e-6)
        assert {**scored, "probability": 0} == {**expected, "probability": 0}


def test_the_first_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = README.partition("    make serve")[2].partition("\n\n")[0]
    commands = re.findall(r"^    \.venv/dev/bin/churn (.*)$", block, re.MULTILINE)
    assert [shlex.split(command, comments=True)[0] for command in commands] == ["simulate", "score"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHURN_MODELS", str(REPOSITORY / "models"))
    for command in commands:
        churn.main(shlex.split(command, comments=True), standalone_mode=False)
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 10_001


def test_every_figure_stands_on_the_page_it_links_to() -> None:
    page, checked = "", 0
    for row in ROWS:
        _, _, ours, theirs, source, _ = (cell.strip() for cell in row.split("|"))
        link = re.search(r"\]\((docs/[\w-]+\.md)", source)
        if link:
            page = (REPOSITORY / link[1]).read_text(encoding="utf-8")
        for figure in re.findall(r"\d[\d,]*(?:\.\d+)?", f"{ours} {theirs}"):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", page), f"{figure}: {row}"
            checked += 1
    assert checked > 15
