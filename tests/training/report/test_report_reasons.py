"""The section of reasons in the report and the model card."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from explained import make_dense
from test_report import EVIL, Page, make_data

from churn.feature import Feature
from churn.reasons.explainer import Explainer
from churn.schema import Schema
from training.evaluate import Part
from training.report import reasons, write_model_card, write_report
from training.report.analysis import analyse
from training.report.figures_groups import shorten
from training.report.figures_reasons import DEPENDENCES, MAX_DOTS, SWARMS, draw_dependences
from training.report.reasons import GROUPS, MAX_CUSTOMERS, MIN_CUSTOMERS, explain_part, make_typical

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from training.report import ReportData

LONG = "a name that is far longer than any picture has room for, number "
DRAW = np.random.default_rng(4)


def make_schema(features: int) -> Schema:
    kinds: list[Feature] = [
        Feature(EVIL, "number", unit="<b>euros</b>", description="<i>Balance</i>."),
        Feature("country", "category", categories=tuple(f"{LONG}{level}" for level in range(9))),
        Feature("card", "flag"),
        Feature("since", "date"),
    ]
    return Schema((*kinds, *(Feature(f"{LONG}{number}", "number") for number in range(features - 4))), label="left")


def make_part(features: int, rows: int) -> Part:
    raw = DRAW.normal(size=(rows, features))
    raw[:, 1], raw[:, 2] = DRAW.integers(0, 9, rows), DRAW.integers(0, 2, rows)
    raw[:, 3] = DRAW.integers(15_000, 20_000, rows)
    labels = (DRAW.random(rows) < 0.3).astype(float)
    return Part("test", raw, labels, DRAW.random(rows))


def make_explained(folder: Path, features: int, rows: int = 200) -> ReportData:
    part = make_part(features, rows)
    scorer = make_dense(folder, features, 2, part.raw[:8], unheard=[features - 1, 3])
    return make_data(
        schema=make_schema(features), parts={"test": part}, predict=scorer.predict, explainer=Explainer(scorer)
    )


@pytest.fixture(scope="module", params=[6, 60])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return make_explained(tmp_path_factory.mktemp("network"), request.param)


@pytest.fixture(scope="module")
def html(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, data)
    return path.read_text("utf-8")


def test_the_means_are_those_of_the_explainer(data: ReportData) -> None:
    reasoned = analyse(data).reasons
    assert reasoned is not None
    assert data.explainer is not None
    found = data.explainer.explain(reasoned.raw)
    # Wide tables have coarser estimates here than over HTTP.
    assert reasoned.is_exact == data.explainer.exact == (found.errors is None)
    tolerance = 0.0 if found.errors is None else 12 * found.errors.max()
    np.testing.assert_allclose(reasoned.points, found.points, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(reasoned.means, np.abs(reasoned.points).mean(axis=0))
    assert reasoned.means[reasoned.order].tolist() == sorted(reasoned.means[reasoned.means > 0].tolist(), reverse=True)
    assert 3 not in reasoned.order  # not heard


def test_a_wide_table_gets_fewer_customers(tmp_path: Path) -> None:
    sizes = {}
    for features in (6, 60):
        data = make_explained(tmp_path / str(features), features, 600)
        assert data.explainer is not None
        reasoned = explain_part(data.explainer, data.schema, data.parts["test"], seed=1)
        assert reasoned.is_exact == (features == 6)
        sizes[features] = len(reasoned.raw)
    assert MIN_CUSTOMERS == sizes[60] < sizes[6] == MAX_CUSTOMERS


def test_where_exact_values_would_take_too_long_few_customers_have_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_explained(tmp_path, 6, 600)
    assert data.explainer is not None
    cost = data.explainer.explain(data.parts["test"].raw[:1]).evaluations
    monkeypatch.setattr(reasons, "MAX_EVALUATIONS", cost * MIN_CUSTOMERS - 1)
    reasoned = explain_part(data.explainer, data.schema, data.parts["test"], seed=1)
    assert not reasoned.is_exact
    assert len(reasoned.raw) == MIN_CUSTOMERS
    assert reasoned.base == data.explainer.base
    exact = data.explainer.explain(reasoned.raw).points
    np.testing.assert_allclose(reasoned.points.sum(axis=1), exact.sum(axis=1), rtol=0, atol=1e-6)


def test_the_section_escapes_all_names_and_has_all_pictures(html: str, data: ReportData) -> None:
    section = html[html.index('<section id="reasons">') : html.index('<section id="subgroups">')]
    assert EVIL not in html
    assert "<b>euros" not in html
    assert "<i>Balance" not in html
    strongest = min(DEPENDENCES, len(data.schema.features) - 2)
    assert section.count("<svg ") == 2 + strongest
    assert 'href="#reasons"' in html
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    shown = [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", section)]
    assert max(map(len, shown)) < 45
    assert shorten(f"{LONG}0") in shown


def test_wide_tables_show_the_strongest_columns_only(html: str, data: ReportData) -> None:
    told = "Pictures show the strongest columns, of 58 that have an effect" in html
    assert told == (len(data.schema.features) == 60)
    swarm = html[html.index('id="beeswarm-text"') :]
    assert swarm[: swarm.index("</desc>")].count(" points") == min(SWARMS, len(data.schema.features) - 2)
    assert ("Estimated values" in html) == (len(data.schema.features) == 60)


def test_three_typical_customers_are_explained(html: str, data: ReportData) -> None:
    reasoned = analyse(data).reasons
    assert reasoned is not None
    assert [one.group for one in reasoned.typical] == [name for name, *_ in GROUPS]
    assert [one.customers for one in reasoned.typical] == [100, 80, 20]
    for one in reasoned.typical:
        assert f'<div class="value">{100 * one.probability:.1f}%</div>' in html
        assert one.reasons
    assert html.count('<li class="up">') + html.count('<li class="down">') == sum(
        len(one.reasons) for one in reasoned.typical
    )


def test_the_model_card_has_them_too(data: ReportData, tmp_path: Path) -> None:
    write_model_card(tmp_path / "card.md", data)
    text = (tmp_path / "card.md").read_text("utf-8")
    section = text[text.index("## What moves the predictions") : text.index("## Thresholds")]
    assert section.count("\n- Of ") == 3
    assert EVIL not in text
    assert "&lt;script&gt;" in section


def test_a_version_without_background_has_no_section(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_data())
    write_model_card(tmp_path / "card.md", make_data())
    assert 'id="reasons"' not in (tmp_path / "report.html").read_text("utf-8")
    assert "What moves" not in (tmp_path / "card.md").read_text("utf-8")


def test_a_network_without_effects_is_said_to_have_none(tmp_path: Path) -> None:
    part = make_part(6, 60)
    scorer = make_dense(tmp_path, 6, 2, part.raw[:4], unheard=range(6))
    data = make_data(schema=make_schema(6), parts={"test": part}, predict=scorer.predict, explainer=Explainer(scorer))
    write_report(tmp_path / "report.html", data)
    assert "No column changes any prediction." in (tmp_path / "report.html").read_text("utf-8")


def test_pictures_have_few_dots_and_unknown_levels(data: ReportData) -> None:
    reasoned = analyse(data).reasons
    assert reasoned is not None
    for picture in map(str, draw_dependences(data.schema, reasoned)):
        assert picture.count("<use ") < MAX_DOTS + 30
    gapped: NDArray[np.float64] = reasoned.raw.copy()
    gapped[::3, :3] = np.nan
    found = "".join(map(str, draw_dependences(data.schema, replace(reasoned, raw=gapped))))
    assert "unknown" in found or 1 not in reasoned.order[:DEPENDENCES]


def test_typical_values() -> None:
    schema = Schema(
        (
            Feature("spiked", "number"),
            Feature("mostly", "number", nullable=True),
            Feature("gaps", "number", nullable=True),
            Feature("place", "category", categories=("a", "b")),
            Feature("since", "date"),
        ),
        label="left",
    )
    raw: Any = np.column_stack([
        [0.0] * 20 + list(range(101_234, 101_264)),
        [7.0] * 40 + [np.nan] * 10,
        [1.0] * 10 + [np.nan] * 40,
        [1.0] * 30 + [0.0] * 20,
        np.arange(17_321, 17_371),
    ])  # fmt: skip
    made = make_typical(schema, raw)
    assert made[:2] == [pytest.approx(101_248, abs=1), 7.0]  # 100,000 is no value that occurs
    assert np.isnan(made[2])
    assert made[3:] == [1.0, 17_345.0]
    assert make_typical(schema, np.tile(raw, (2, 1)) * 1.0)[3:] == [1.0, 17_345.0]
    raw[:, 0] = np.arange(50) * 1_234.5
    assert make_typical(schema, raw)[0] == 30_000.0
