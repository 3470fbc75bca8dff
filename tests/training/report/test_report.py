from __future__ import annotations

import re
from dataclasses import asdict, replace
from functools import partial
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest

from churn.feature import Feature
from churn.measures.intervals import NOT_KNOWN, bootstrap
from churn.schema import Schema
from training import evaluate
from training.default.assemble import LINEAR, TAILS, TREES
from training.default.members import KINDS
from training.evaluate import Part
from training.report import Costs, ReportData, write_model_card, write_report
from training.report.analysis import MEASURES, analyse
from training.report.families import CORRECTION, FAMILIES, list_families
from training.report.figures_groups import MAX_BARS, draw_importance
from training.report.figures_history import draw_history, group_history
from training.report.formatting import code, decimal, decimal_range, markdown, percent, percent_range
from training.report.importance import Importance
from training.report.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

EVIL = "<script>alert(1)</script>"
NAMES = (EVIL, 'quo"te', "$\\frac{$", "年龄", "a|b`c", "Age")


def predict(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    raw = np.nan_to_num(raw)
    return (1 / (1 + np.exp(2 - 0.05 * (raw[:, 5] - 40) - raw[:, 1] - 0.4 * raw[:, 0]))).round(6)


def make_part(name: str, count: int, seed: int) -> Part:
    rng = np.random.default_rng(seed)
    raw = np.column_stack(
        [
            rng.integers(0, 3, count),
            rng.integers(0, 2, count),
            rng.normal(0, 1, count),
            rng.integers(0, 4, count),
            np.where(rng.random(count) < 0.1, np.nan, rng.exponential(1000, count)),
            rng.integers(18, 80, count),
        ]
    ).astype(float)
    probabilities = predict(raw)
    return Part(name, raw, (rng.random(count) < probabilities).astype(float), probabilities)


SCHEMA = Schema(
    (
        Feature(NAMES[0], "category", categories=("<b>x</b>", "&amp;", "z|")),
        Feature(NAMES[1], "flag", description="<i>text</i>", unit="&"),
        Feature(NAMES[2], "number"),
        Feature(NAMES[3], "integer"),
        Feature(NAMES[4], "number", nullable=True),
        Feature(NAMES[5], "integer"),
    ),
    label="<u>Left</u>",
)


def make_data(**changes: Any) -> ReportData:
    parts = {"train": make_part("train", 900, 1), "validation": make_part("validation", 300, 2)}
    parts["test"] = make_part("test", 600, 3)
    values: dict[str, Any] = {
        "version": 7,
        "created": "2026-01-02T03:04:05+00:00",
        "network": "default",
        "parameters": 12345,
        "seed": 3,
        "threshold": 0.4,
        "schema": SCHEMA,
        "source": {
            "file": "<img src=x>.csv",
            "sha256": "ab" * 32,
            "rows": 1810,
            "rows_used": 1800,
            "rows_with_faults": 7,
            "rows_repeated": 3,
            "positive_share": 0.25,
            "columns_dropped": {"RowNumber": "a number of the row", "Surname": "told in a note"},
        },
        "notes": ["Surname is dropped: <em>free</em> text.", "7 rows are dropped for 7 faults:\n| line 3 |"],
        "history": {"loss": [0.6, 0.5, 0.45], "val_loss": [0.6, 0.52, 0.53], "lr": [0.1, 0.1, 0.1]},
        "parts": parts,
        "predict": predict,
        "settings": {"network": "default", "warm_start": None, "x": EVIL, "config": {"hidden": [64, 32], "noise": 0.1}},
        "libraries": {"keras": "3.15.0", "numpy": "2.4.1"},
        "command": "churn train 'a`b.csv' --seed 3",
        "costs": Costs(),
        "program": "0.1.0, commit abc_def",
    }
    return ReportData(**(values | changes))


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Work out intervals from fewer resamples, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.report.analysis.bootstrap", partial(bootstrap, resamples=60))
        patch.setattr("training.report.subgroups.AUC_RESAMPLES", 30)
        yield


@pytest.fixture(scope="module")
def data() -> ReportData:
    return make_data()


@pytest.fixture(scope="module")
def html(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, data)
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def card(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("card") / "model_card.md"
    write_model_card(path, data)
    return path.read_text("utf-8")


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.labelled: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src", "xlink:href", "data") if name in given]
        if tag == "svg":
            self.labelled.append(given.get("aria-label") or given.get("aria-labelledby") or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_and_its_ids_are_its_own(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_names_stay_text(html: str) -> None:
    page = Page(html)
    assert not {"script", "img", "i", "u", "em", "iframe"} & set(page.tags)
    for text in (EVIL, "<b>x</b>", "<img src=x>.csv", "<u>Left</u>", "<em>free</em>", "年龄", "$\\frac{$"):
        assert text in page.text


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    page = Page(html)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    outside = re.findall(r"url\((?!#)|@import|https?://[^\s\"<]+", html)
    assert set(outside) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    for reference in re.findall(r"url\(#([^)]+)\)", html):
        assert reference in page.ids


def test_every_picture_is_described(html: str) -> None:
    page = Page(html)
    assert len(page.labelled) >= 10
    for label in page.labelled:
        assert label
    described = [name for label in page.labelled for name in label.split() if name.endswith(("-title", "-text"))]
    assert len(described) >= 20
    assert set(described) <= set(page.ids)


def test_colours_come_from_the_page_so_that_dark_is_readable(html: str) -> None:
    used = set(re.findall(r"var\((--[a-z]+)\)", html))
    light, dark = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)
    for block in (light, dark):
        assert used <= set(re.findall(r"(--[a-z]+):", block))
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        assert set(re.findall(r"(?:fill|stroke): (#[0-9a-f]+)", svg)) <= {"#000000"}


def test_the_page_is_small(html: str) -> None:
    assert len(html.encode()) < 500_000


def test_the_page_speaks_of_everything(html: str, data: ReportData) -> None:
    text = Page(html).text
    analysis = analyse(data)
    for words in (
        "Churn model, version 7",
        data.created,
        "12,345 weights",
        "RowNumber is dropped: a number of the row.",
        decimal(analysis.measures["roc_auc"].value, 3),
        f"{analysis.measures['log_loss'].low:.4f} to {analysis.measures['log_loss'].high:.4f}",
        "break-even 0.164",
        "(10 + 1) / (0.3 × (200 − 10) + 10) = 0.1642",  # noqa: RUF001  as people write it
        "Beta(6, 14)",
        "churn train 'a`b.csv' --seed 3",
        "ab" * 32,
    ):
        assert words in text
    assert text.count("Surname is dropped") == 1
    assert text.count("Look at:") == 9


def test_the_same_data_give_the_same_bytes(html: str, card: str, tmp_path: Path) -> None:
    again = make_data()
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other"}):
        before = dict(mpl.rcParams)
        write_report(tmp_path / "report.html", again)
        assert dict(mpl.rcParams) == before
    write_model_card(tmp_path / "card.md", again)
    assert (tmp_path / "report.html").read_text("utf-8") == html
    assert (tmp_path / "card.md").read_text("utf-8") == card
    write_report(tmp_path / "other.html", make_data(seed=4))
    assert (tmp_path / "other.html").read_text("utf-8") != html


def test_measures_are_those_of_evaluate(data: ReportData) -> None:
    analysis = analyse(data)
    scores = evaluate.score(data.parts["test"].labels, data.parts["test"].probabilities, data.threshold)
    for name, value in asdict(scores).items():
        if name in MEASURES:
            assert analysis.measures[name].value == pytest.approx(value)
            assert analysis.measures[name].low < value < analysis.measures[name].high
    (_, wrong), (missed, found) = scores.confusion_matrix
    assert analysis.measures["recall"].value == pytest.approx(found / (found + missed))
    assert analysis.measures["precision"].value == pytest.approx(found / (found + wrong))
    assert analysis.scores["test"] == scores
    row = next(row for row in analysis.thresholds if row.is_chosen)
    assert (row.threshold, row.recall, row.accuracy) == pytest.approx((0.4, found / (found + missed), scores.accuracy))
    assert row.profit == pytest.approx(analysis.measures["profit"].value)


def test_the_numbers_are_worked_out_once(data: ReportData) -> None:
    assert analyse(data) is analyse(data)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (("train",), "the customers it was trained on"),
        (("train", "validation"), "No test set was held out"),
        (("train", "test"), None),
    ],
)
def test_absent_parts_are_said(data: ReportData, tmp_path: Path, kept: tuple[str, ...], words: str | None) -> None:
    fewer = make_data(parts={name: data.parts[name] for name in kept}, history={})
    write_report(tmp_path / "report.html", fewer)
    write_model_card(tmp_path / "card.md", fewer)
    for file in ("report.html", "card.md"):
        text = (tmp_path / file).read_text("utf-8")
        assert ("Read with care" in text) == (words is not None)
        assert words is None or words in text
    assert "There are no curves" in (tmp_path / "report.html").read_text("utf-8")


def test_a_part_of_one_class_is_not_judged_on(data: ReportData) -> None:
    stayed = replace(data.parts["test"], labels=np.zeros(600))
    analysis = analyse(make_data(parts={**data.parts, "test": stayed}))
    assert analysis.part == "validation"
    assert set(analysis.scores) == {"train", "validation"}
    with pytest.raises(ValueError, match="no part has both customers who left"):
        make_data(parts={"test": stayed}).judged_part()


@pytest.mark.parametrize("probability", [0.1, 0.9])
def test_a_model_that_says_the_same_of_everyone_is_reported(tmp_path: Path, probability: float) -> None:
    def constant(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(raw), probability)

    part = make_part("test", 60, 0)
    part = replace(part, probabilities=constant(part.raw))
    same = make_data(parts={"test": part}, predict=constant, source={}, notes=[], history={"loss": [float("nan")]})
    write_report(tmp_path / "report.html", same)
    write_model_card(tmp_path / "card.md", same)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Nothing was dropped" in text
    assert "AUC 0.500" in text


def test_costs_that_never_pay_are_said(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_data(costs=Costs(1, 10, 1, 0.3)))
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "is never profitable" in text
    assert "above the break-even" not in text


def test_the_card_has_its_sections_and_numbers(card: str, data: ReportData) -> None:
    measures = analyse(data).measures
    for words in (
        "## Intended use",
        "## Forbidden use",
        "## Training data",
        "## Evaluation",
        "## Thresholds",
        "## Subgroups",
        "## Limitations",
        "## Reproducing the model",
        "Its origin is not recorded",
        f"| AUC | {measures['roc_auc'].value:.4f} | {measures['roc_auc'].low:.4f} to {measures['roc_auc'].high:.4f} |",
        "`` churn train 'a`b.csv' --seed 3 ``",
        "- keras 3.15.0",
        "seed 3",
        "`" + "ab" * 32 + "`",
    ):
        assert words in card


def test_a_sample_says_of_how_many_it_is_one(data: ReportData, tmp_path: Path) -> None:
    scores = {name: replace(scores, customers=1000 * scores.customers) for name, scores in analyse(data).scores.items()}
    sampled = replace(data, scores=scores)
    write_model_card(tmp_path / "card.md", sampled)
    write_report(tmp_path / "report.html", sampled)
    card, html = (tmp_path / "card.md").read_text(), (tmp_path / "report.html").read_text()
    assert "On 600 customers of the test set, drawn from its 600,000, of whom" in card
    assert "- Sets: train 900,000, validation 300,000, test 600,000." in card
    assert "</b> customers of the test set, drawn from its 600,000</p>" in html
    assert '<th scope="row">train</th><td>900,000</td>' in html


def test_the_card_lets_no_name_break_out(card: str) -> None:
    assert "<" not in re.sub(r"`[^`]*`", "", card)
    assert "&lt;script&gt;alert(1)" in card
    tables = [line for line in card.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {6, 5, 8, 7, 11, 3}


def test_the_public_table_is_known_by_its_content(data: ReportData, tmp_path: Path) -> None:
    source = dict(data.source, sha256="ee2a5c9d8daf3aed0d91c4d883a84ebb77d271447bebc0f0c80aafb0f288ceab")
    write_model_card(tmp_path / "card.md", make_data(source=source))
    assert "**Its origin is unknown.**" in (tmp_path / "card.md").read_text("utf-8")


def test_histories_of_members_share_a_panel() -> None:
    history = {
        "member_1/loss": [1.0, 0.5],
        "member_2/loss": [1.0, 0.6],
        "member_1/val_loss": [1.1],
        "loss_3": [0.9],
        "m4.loss": [0.8],
        "auc": [0.7],
        "val_auc": [0.7],
        "top5": [1.0],
        "empty": [],
        "nan": [float("nan")],
        "a": [1.0],
        "b": [1.0],
    }
    panels = group_history(history)
    assert list(panels) == ["loss", "auc", "top5", "a"]
    assert len(panels["loss"]["training"]) == 4
    assert len(panels["loss"]["validation"]) == 1
    assert set(panels["auc"]) == {"training", "validation"}


def test_numbers_are_written_for_people() -> None:
    assert percent(-0.00001) == "0.0%"
    assert percent(-0.0123) == "\u22121.2%"
    assert percent(None) == percent(float("nan")) == "\u2013"
    assert decimal(-0.00001) == "0.0000"
    assert percent_range(NOT_KNOWN) == decimal_range(NOT_KNOWN) == ""
    assert decimal(None) == "\u2013"


def test_markdown_takes_any_text_as_it_is() -> None:
    assert markdown("a|b\n<i>_x_") == "a\\|b &lt;i&gt;\\_x\\_"
    assert code("a`b``c") == "``` a`b``c ```"
    assert code("plain") == "`plain`"


def test_options_of_a_group_are_told_one_by_one_and_the_program_is_named(html: str, card: str) -> None:
    assert "<dt>hidden</dt><dd>64, 32</dd>" in html
    assert "<dt>warm_start</dt><dd>\u2013</dd>" in html
    assert "<dt>churn</dt><dd>0.1.0, commit abc_def</dd>" in html
    assert "| `noise` | 0.1 |" in card
    assert "- churn 0.1.0, commit abc\\_def" in card
    assert "{&#39;" not in html
    assert "{'" not in card


def test_a_cross_validated_part_is_not_said_to_be_other_customers(data: ReportData, html: str, tmp_path: Path) -> None:
    assert "cross-validation" not in html
    train = data.parts["train"]
    judged = {"train": train, "validation": replace(train, name="validation")}
    crossed = replace(data, parts=judged)
    assert crossed.is_cross_validated
    assert "cross-validation of the training set" in analyse(crossed).caveat
    assert "determined when training stopped" in analyse(replace(data, parts=dict(list(data.parts.items())[:2]))).caveat
    write_report(tmp_path / "report.html", crossed)
    write_model_card(tmp_path / "model_card.md", crossed)
    assert "the other rows are the published network" in (tmp_path / "report.html").read_text("utf-8")
    assert "not other customers" in (tmp_path / "model_card.md").read_text("utf-8")


def test_a_customer_of_a_cross_validation_is_counted_once(data: ReportData) -> None:
    train, test = data.parts["train"], data.parts["test"]
    crossed = replace(data, parts={"train": train, "validation": replace(train, name="validation"), "test": test})
    missing = np.isnan(train.raw[:, 4]).sum() + np.isnan(test.raw[:, 4]).sum()
    column = analyse(crossed).columns[4]
    assert column.missing == missing
    assert column.missing_share == pytest.approx(missing / (len(train.raw) + len(test.raw)))


DETAILS = {
    "stack": {"trees": 0.25, "linear": 0.0, "tails": 0.5},
    "out_of_fold": {
        "trees": 0.31, "linear": 0.34, "tails": 0.69, "stack": 0.3, "logistic regression": 0.33, "share of leavers": 0.4
    },
}  # fmt: skip


def test_a_student_is_the_published_network_and_the_stack_its_teacher(data: ReportData, tmp_path: Path) -> None:
    details = DETAILS | {"out_of_fold": DETAILS["out_of_fold"] | {"student": 0.305}}
    write_report(tmp_path / "report.html", replace(data, details=details))
    page = (tmp_path / "report.html").read_text()
    (published,) = [row for row in page.split("<tr") if "the published network</th>" in row]
    assert "student of the stack" in published
    assert "0.3050" in published
    assert 'class="chosen"' in published
    (stack,) = [row for row in page.split("<tr") if "all together: the stack" in row]
    assert 'class="chosen"' not in stack


def test_each_curve_of_several_networks_has_a_dot_where_it_is_lowest() -> None:
    several = draw_history({"val_loss_0": [0.5, 0.4, 0.6], "val_loss_1": [0.5, 0.3], "loss": []})
    alone = draw_history({"val_loss": [0.5, 0.4, 0.6]})
    plain = draw_history({"loss_0": [0.5, 0.4, 0.6], "loss_1": [0.5, 0.3]})
    dot = "fill: var(--orange); stroke: var(--paper)"
    assert [str(one[0]).count(dot) for one in (several, alone, plain)] == [2, 1, 0]
    assert "best: epoch 2" in alone[0]
    assert "best: epoch" not in several[0]


def test_the_families_are_shown_with_losses_and_weights(data: ReportData, html: str, tmp_path: Path) -> None:
    rows = list_families(DETAILS)
    assert [row.name for row in rows] == [
        "tails",
        "boosted trees",
        "linear model",
        "all together: the published network",
        "logistic regression",
        "share of leavers",
    ]
    assert rows[0].log_loss is None  # a correction of the others is nothing alone
    assert (rows[1].log_loss, rows[1].weight) == (0.31, 0.25)
    assert list_families({}) == []
    assert "What the network consists of" not in html
    write_report(tmp_path / "report.html", replace(data, details=DETAILS))
    page = (tmp_path / "report.html").read_text()
    assert "What the network consists of" in page
    assert '<td class="text">a curve for each column, added up</td><td>0.3400</td><td>not used</td>' in page
    write_model_card(tmp_path / "card.md", replace(data, details=DETAILS))
    assert "- Weights: tails 0.50, boosted trees 0.25.\n" in (tmp_path / "card.md").read_text()


def test_every_family_of_the_network_has_words() -> None:
    assert set(FAMILIES) == {TREES, LINEAR, TAILS, *KINDS}
    assert CORRECTION == TAILS


def test_long_values_are_cut_off() -> None:
    schema = Schema((Feature("code", "category", categories=("x" * 40, "y"), open=True),), "left")
    raw = np.zeros((40, 1))
    (column,) = summarise(schema, [Part("test", raw, raw[:, 0], raw[:, 0])])
    assert column.values == "x" * 23 + "…, y, (other)"
    assert column.typical == "x" * 23 + "… 100%"


def test_columns_that_change_nothing_are_counted_and_give_way(data: ReportData) -> None:
    importance = Importance(np.array([0.0, 0.2, 0.0]), np.array([0.0, 0.1, 0.01]), 10, 6)
    assert importance.matters.tolist() == [False, True, True]
    names = [f"column {number}" for number in range(MAX_BARS + 5)]
    means = np.zeros(len(names))
    means[[3, 24]] = 0.1, 0.2
    analysis = replace(analyse(data), importance=Importance(means, np.zeros(len(names)), 10, 6))
    drawn = str(draw_importance(names, analysis))
    assert [f"column {number}" for number in (24, 3)] == re.findall(r"column \d+", drawn)[:2]
    assert "column 4<" not in drawn
