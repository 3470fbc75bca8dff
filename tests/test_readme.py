"""README, docs/getting-started.md and the pages on requests: commands run, responses and figures are true."""

from __future__ import annotations

import csv
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
        assert scored == expected


def is_close(found: Any, shown: Any) -> bool:
    """Compare JSON values; another processor may add up in another order."""
    if isinstance(shown, dict):
        return list(found) == list(shown) and all(is_close(found[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return len(found) == len(shown) and all(map(is_close, found, shown))
    return bool(found == (pytest.approx(shown, abs=4e-6) if isinstance(shown, float) else shown))


def test_the_reasons_are_those_shown(client: TestClient) -> None:
    (shown,) = re.findall(r"reasons=2'.*?```\n(\{.*?\})\n```", HTTP, re.DOTALL)
    (customer,) = re.findall(r"predict -H.*? -d '(\{[^']*\})'\n", HTTP)
    assert is_close(client.post("/predict?reasons=2", json=json.loads(customer)).json(), json.loads(shown))


def test_the_reasons_of_a_table_are_those_shown(client: TestClient) -> None:
    page = (REPOSITORY / "docs" / "http-tables.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"\$ cat customers.csv\n(.*?)\n\$", page, re.DOTALL)
    (shown,) = re.findall(r"reasons=1'\n(.*?)```", page, re.DOTALL)
    answer = client.post("/predict?reasons=1", content=table, headers={"content-type": "text/csv"}).text
    found, expected = (list(csv.DictReader(text.splitlines())) for text in (answer, shown))
    assert len(found) == len(expected) == 2
    for row, as_shown in zip(found, expected, strict=True):
        assert is_close(*({key: read_cell(cell) for key, cell in one.items()} for one in (row, as_shown)))


def read_cell(cell: str) -> float | str:
    return float(cell) if re.fullmatch(r"-?\d+\.\d+", cell) else cell


def test_the_questions_get_the_answers_shown(client: TestClient) -> None:
    page = (REPOSITORY / "docs" / "what-if.md").read_text(encoding="utf-8")
    (customer,) = re.findall(r"-d '(\{[^'…]*\})'", page)
    changes, curves = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (query,) = re.findall(r"/sensitivity\?[^' ]+", page)
    for path, shown in (("/counterfactuals", changes), (query, curves)):
        found = client.post(path, content=customer, headers={"content-type": "application/json"}).json()
        assert is_close(found, json.loads(shown)), path


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
