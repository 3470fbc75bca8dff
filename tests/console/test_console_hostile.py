"""Schemas and data that attack the page: nothing executes, nothing overflows, everything can still be done."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import bundles
import pytest
from browsing import WIDTHS, find_barriers, find_overflow, open_page, read_probability
from playwright.sync_api import expect
from service_process import running_service

from churn.feature import Feature
from churn.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

SCRIPT = "<img src=x onerror=alert(1)>\"'`${alert(1)}&lt;"
LONG = "W" * 300
NAME = "M" * 255
"""The longest name of a column."""

WORDS = "many words " * 23
ARABIC = "\u0639\u062f\u062f \u0627\u0644\u0639\u0645\u0644\u0627\u0621 \u202b(50%) \u05d0\u05d1\u05d2"

HOSTILE = Schema(
    features=(
        Feature(SCRIPT, "number", minimum=0, trained_minimum=0, trained_maximum=1e12, unit=SCRIPT, description=SCRIPT,
                actionable="any", example=5.0),
        Feature(NAME, "category", categories=(LONG, SCRIPT, ARABIC), example=SCRIPT, actionable="any"),
        Feature(WORDS.strip(), "flag", description=WORDS * 2, unit=LONG),
        Feature(ARABIC, "integer", nullable=True, trained_minimum=-5, trained_maximum=5, unit=ARABIC),
        Feature("toString", "number", trained_minimum=0, trained_maximum=0.001, example=0.0005),
        Feature("constructor", "category", categories=tuple(f"level {number}" for number in range(50)), open=True),
        Feature("a&b=c#d?e%20f+g", "date", trained_minimum=0, trained_maximum=20_000, example="2001-02-03"),
        Feature("</script><script>alert(2)</script>", "flag", nullable=True),
    ),
    label="left <b>",
    identifier="id <i>&amp;",
)  # fmt: skip

CUSTOMER: dict[str, Any] = {
    SCRIPT: 5.0, NAME: SCRIPT, WORDS.strip(): 1, ARABIC: None, "toString": 0.0005, "constructor": "level 3",
    "a&b=c#d?e%20f+g": "2001-02-03", "</script><script>alert(2)</script>": None,
}  # fmt: skip

MANY = Schema(
    tuple(
        Feature(f"field_{number}", "flag" if number % 3 == 0 else "number", trained_minimum=0, trained_maximum=10)
        if number % 3
        else Feature(f"field_{number}", "flag")
        for number in range(60)
    ),
    label="left",
)
FLAGS = Schema(tuple(Feature(f"has_{number}", "flag", example=number % 2) for number in range(8)), label="left")

SCHEMAS = {"hostile": (HOSTILE, CUSTOMER), "many": (MANY, {}), "flags": (FLAGS, {})}


@pytest.fixture(scope="module", params=SCHEMAS)
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Schema]]:
    schema, customer = SCHEMAS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    known = customer or dict.fromkeys(schema.names, 1)
    bundles.publish(folder / "models", schema, known, background=6)
    (folder / "run").mkdir()
    with running_service(folder / "models", folder / "run", CHURN_ADMIN="true") as service:
        yield f"http://127.0.0.1:{service.port}", schema


def check(page: Page) -> None:
    assert find_overflow(page) == []
    assert find_barriers(page) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_all_views_are_whole(browser: Browser, attacked: tuple[str, Schema], width: int, tmp_path: Path) -> None:
    url, schema = attacked
    with open_page(browser, url, width=width) as page:
        read_probability(page)
        expect(page.locator(".bars tbody tr").first).to_be_visible()
        expect(page.locator(".curve canvas, .levels").first).to_be_visible()
        check(page)
        page.get_by_role("link", name="Model").click()
        expect(page.locator("#scores")).to_be_visible()
        check(page)
        page.get_by_role("link", name="Now").click()
        expect(page.locator("table.drift tr")).to_have_count(len(schema.features))
        page.locator("table.drift button").first.click()
        check(page)
        page.get_by_role("link", name="File").click()
        path = tmp_path / "<img src=x onerror=alert(1)> & more.csv"
        path.write_text(write_csv(schema))
        page.locator("input[type=file]").set_input_files(path)
        expect(page.locator(".progress")).to_contain_text("done in")
        expect(page.locator(".figure").first).to_contain_text("Scored1")
        check(page)


def write_csv(schema: Schema) -> str:
    """Return a table with a customer who can be scored, and one who can't be and whose cells attack."""
    good = {name: CUSTOMER.get(name, 1) for name in schema.names}
    text = io.StringIO()
    writer = csv.DictWriter(text, [schema.identifier, *schema.names])
    writer.writeheader()
    writer.writerow({schema.identifier: SCRIPT, **{k: "" if v is None else v for k, v in good.items()}})
    writer.writerow({schema.identifier: f"{LONG}\n{ARABIC}", **dict.fromkeys(schema.names, SCRIPT)})
    return text.getvalue()


def test_a_hostile_customer_is_changed_linked_and_copied(browser: Browser, attacked: tuple[str, Schema]) -> None:
    url, schema = attacked
    with open_page(browser, url) as page:
        before = read_probability(page)
        fields = page.locator(".field")
        expect(fields).to_have_count(len(schema.features) + 1)
        fields.first.locator("input").fill(SCRIPT)
        for place in range(1, min(5, len(schema.features))):
            choices = fields.nth(place).locator("input[type=radio]")
            if choices.count():
                choices.last.check()
        page.get_by_role("button", name="link").click()
        link = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="JSON").click()
        expect(page.locator(".copy", has_text="JSON").get_by_role("status")).to_have_text("copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        expect(page.get_by_test_id("probability")).to_be_visible()
    assert before >= 0
    with open_page(browser, url, link.removeprefix(f"{url}/")) as page:
        expect(page.locator(".field").first.locator("input")).to_have_value(SCRIPT)
        read_probability(page)
        page.get_by_role("button", name="JSON").click()
        expect(page.locator(".copy", has_text="JSON").get_by_role("status")).to_have_text("copied")
        assert page.evaluate("navigator.clipboard.readText()") == copied


def test_every_field_has_a_curve(browser: Browser, attacked: tuple[str, Schema]) -> None:
    url, schema = attacked
    with open_page(browser, url) as page:
        read_probability(page)
        for feature in schema.features[:8]:
            page.get_by_label("Field of the curve").select_option(feature.name)
            expect(page.locator(".curve [role=alert]")).to_have_count(0)
            expect(page.locator(".curve .chart canvas" if feature.is_quantity else ".curve .levels")).to_be_visible()
