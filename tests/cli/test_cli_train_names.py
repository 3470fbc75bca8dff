"""A table whose columns have every name that is allowed: trained on, published, served, scored and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import draw_customers, write_csv
from running import start
from table_requests import post, read_csv
from test_names_everywhere import FEATURES_ALONE, NAMES

if TYPE_CHECKING:
    from pathlib import Path

MORE = ["$x^", "$\\frac{", "<b>bold</b>", "&amp;", "a_b", "%d", "{{ x }}", "{% x %}", "\u202eright to left"]
"""Names that pictures, pages and templates give a meaning."""


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_what_is_published_can_be_served(churn: Any, tmp_path: Path) -> None:
    rows = 300
    table = draw_customers(rows).rename(columns={"CustomerId": "it's % `id`"})
    draws = np.random.default_rng(1)
    for number, name in enumerate([*NAMES, *FEATURES_ALONE, *MORE]):
        table[name] = draws.normal(size=rows).round(3) if number % 2 else draws.choice(["x", "$y^", "<z>"], rows)
    path, models = write_csv(tmp_path / "bank.csv", table), tmp_path / "models"
    trained = churn("train", path, "--models", models, "--label", "Exited", "--id", "it's % `id`", "--keep", "--")
    assert trained.code == 0, trained.err
    assert churn("models", "verify", "--models", models, "--engine", "onnx").code == 0
    scores = tmp_path / "scores.csv"
    scored = churn("score", path, "--output", scores, "--models", models, "--engine", "onnx")
    assert (scored.code, scored.err) == (0, "")
    with start(models) as client:
        answer = post(client, path.read_bytes())
        assert answer.status_code == 200, answer.text
        assert read_csv(answer.content) == read_csv(scores.read_bytes())
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/metrics").status_code == 200
