"""The report on judged decisions: self-contained, complete, and with warnings where numbers mislead."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from churn.measures.expected import ASSUMPTION
from churn.measures.sample import Sample
from records.judging.join import RULE
from records.judging.measures import expect_measures, measure
from training.judged.page import list_warnings, write_judgement

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert(1)</script>"


def draw(rows: int, seed: int) -> Sample:
    generator = np.random.default_rng(seed)
    probabilities = generator.uniform(0.02, 0.9, rows).round(6)
    labels = (generator.random(rows) < probabilities).astype(float)
    return Sample.of(labels, probabilities, probabilities > 0.5)[0]


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    months = []
    for place, rows in enumerate((500, 400, 0)):
        sample, everybody = draw(rows, place), draw(600, place)
        both = {"measures": measure(sample), "expected": expect_measures(sample)}
        groups = [{"feature": EVIL, "level": level, "measures": measure(sample, is_brief=True)} for level in "ab"]
        months.append(
            {
                "month": f"2026-0{place + 1}",
                "customers": 600,
                "judged": rows,
                "open": 0 if rows else 600,
                "unknown": 600 - rows if rows else 0,
                **both,
                "expected_of_all": expect_measures(everybody),
                "versions": {"1": both},
                "groups": groups if rows else [],
            }
        )
    total = {"measures": measure(draw(900, 5)), "expected": expect_measures(draw(900, 5))}
    number = {"value": 0.8, "low": 0.78, "high": 0.82}
    return {
        "form": 1,
        "time": "2026-04-01T00:00:00.000000Z",
        "horizon_days": 30,
        "known_until": "2026-03-31",
        "rule": RULE.format(days=30),
        "assumption": ASSUMPTION,
        "training": {"1": {"part": "test", "customers": 2000, "roc_auc": number, "log_loss": number}},
        "months": months,
        "versions": {"1": total},
        "total": total,
    }


def test_the_report_is_one_file_that_asks_for_nothing(made: dict[str, Any], tmp_path: Path) -> None:
    write_judgement(tmp_path / "judged.html", made)
    html = (tmp_path / "judged.html").read_text(encoding="utf-8")
    HTMLParser().feed(html)
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r'(src|href)="(?!#)', html)
    assert ASSUMPTION in html
    assert html.count("<svg") == 10
    for month in made["months"]:
        assert html.count(f'<th scope="row">{month["month"]}</th>') == (3 if month["judged"] else 2)
    assert f"{made['total']['measures']['roc_auc']['value']:.3f}" in html
    write_judgement(tmp_path / "again.html", made)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_a_report_before_any_outcome_says_so(made: dict[str, Any], tmp_path: Path) -> None:
    none = {"measures": measure(draw(0, 0)), "expected": expect_measures(draw(0, 0))}
    early = made | {"months": made["months"][2:], "versions": {}, "total": none}
    for judgement in (early, early | {"months": [], "training": {}}):
        write_judgement(tmp_path / "judged.html", judgement)
        assert "No month can be judged yet" in (tmp_path / "judged.html").read_text(encoding="utf-8")


def test_what_misleads_is_warned_of(made: dict[str, Any]) -> None:
    assert [warning.split(":")[0] for warning in list_warnings(made)] == ["2026-02"]
    changed = copy.deepcopy(made)
    changed["months"][0]["measures"]["leavers"] = 500
    changed["versions"]["1"]["measures"]["roc_auc"] = {"value": 0.7, "low": 0.69, "high": 0.71}
    found = list_warnings(changed)
    assert "2026-01: all judged customers left; load rows of the others, too." in found
    assert found[-1].startswith("Version 1 ranks worse than in training: AUC 0.700, in training 0.800")
